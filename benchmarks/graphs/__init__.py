"""Graph networks on Cora: where direct feedback should arrive, and pictures of the hidden layer."""
