"""Independent work on several processes."""
