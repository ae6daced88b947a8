"""Counter-based random numbers, specified to the bit, and the streams they come in."""
