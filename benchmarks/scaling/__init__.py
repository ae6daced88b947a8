"""Studies of scale: their pictures and tables."""
