"""Text for terminals and notebooks."""

from beyondprop.lazy import listing
from beyondprop.text.hint import did_you_mean, suggested
from beyondprop.text.html import html_table
from beyondprop.text.table import aligned

__all__ = ["aligned", "did_you_mean", "html_table", "suggested"]
__dir__ = listing(__all__)
