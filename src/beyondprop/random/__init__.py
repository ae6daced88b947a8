"""Counter-based random numbers, specified to the bit, and their streams."""
