"""Rules that send one signal directly to every block."""
