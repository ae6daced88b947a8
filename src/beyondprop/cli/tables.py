"""Tables on standard output."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

WIDEST = 1000
"""Characters of a table."""


def show(table: Table) -> None:
    """Print a table as wide as it is, also where the terminal is narrower or there is none."""
    width = Console(width=WIDEST).measure(table).maximum
    Console(highlight=False, width=max(width, Console().width)).print(table, crop=False)
