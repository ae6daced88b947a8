"""Tables on standard output."""

from __future__ import annotations

from functools import partial

from rich.console import Console
from rich.table import Table

WIDEST = 1000
"""Most characters of a line of a table."""


def show(table: Table) -> None:
    """Print a table at its full width, even if the terminal is narrower or there is none."""
    plain = partial(Console, highlight=False, markup=False)
    width = max(plain(width=WIDEST).measure(table).maximum, plain().width)
    plain(width=width).print(table, crop=False)
