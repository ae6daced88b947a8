"""Scaling studies: plots and tables."""
