"""Ready-made students of common blocks."""
