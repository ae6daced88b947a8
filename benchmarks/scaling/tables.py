"""The tables of studies of scale."""

from typing import Any

from benchmarks.common.tables import Cells
from beyondprop.experiment.laws_table import WORDS, answers, cells

HEADS = ("rule", "exponent", "less backprop's", "offset", "the gap", "ahead")


def told(record: dict[str, Any]) -> str:
    """Return what a study says of each rule, a line a rule, as Markdown."""
    return "\n".join(f"- {sentence}" for sentence in answers(record))


def laws(record: dict[str, Any], axis: str) -> Cells:
    """Return the laws along an axis, one row a rule."""
    against = record["against"][axis]
    rows = [
        [rule, *cells(found, against.get(rule, {}))] for rule, found in record["laws"][axis].items()
    ]
    return (f"against {WORDS[axis]}", *HEADS[1:]), rows


def axes(record: dict[str, Any]) -> list[str]:
    """Return the axes along which a rule has a law."""
    return [
        axis
        for axis, laws in record["laws"].items()
        if any("exponent" in found for found in laws.values())
    ]
