"""Comparisons of rules: tasks beside the package's own, and tables."""
