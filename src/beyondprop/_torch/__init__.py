"""Additions to PyTorch and uses of its private parts, in one place."""
