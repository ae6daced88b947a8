"""Comparisons of rules: additional tasks, and tables."""
