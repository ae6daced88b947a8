"""Graph networks on Cora: the place of direct feedback, and pictures of the hidden layer."""
