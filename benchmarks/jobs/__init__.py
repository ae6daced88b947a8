"""Independent work in several processes."""
