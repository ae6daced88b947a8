"""The tables of attacks on pages: headings and rows, made of a record."""

from typing import Any

from benchmarks.common.tables import Cells
from benchmarks.faults import attacks


def counts(rows: list[dict[str, Any]]) -> Cells:
    """Return what became of attacks: one row a kind."""
    return attacks.attacks(rows)


def bounds(rows: list[dict[str, Any]]) -> Cells:
    """Return what checks cost: one row a check."""
    return attacks.ratios(rows)
