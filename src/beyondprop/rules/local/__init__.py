"""Rules by which each block lowers a loss of its own."""
