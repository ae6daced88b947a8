"""Rules that send targets back from block to block."""
