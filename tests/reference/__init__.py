"""Every rule again, slow and textbook-like, written from its paper. No autograd in here."""
