"""Text for terminals."""

from beyondprop.text.table import aligned

__all__ = ["aligned"]
