"""Rules that send one signal straight to every block."""
