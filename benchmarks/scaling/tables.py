"""The tables of scaling studies."""

from typing import Any

from benchmarks.common.tables import Cells
from beyondprop.experiment.laws_table import COLUMNS, WORDS, answers, has_law, rows


def told(record: dict[str, Any]) -> str:
    """Return the findings of a study, one line per rule, as Markdown."""
    return "\n".join(f"- {sentence}" for sentence in answers(record))


def laws(record: dict[str, Any], axis: str) -> Cells:
    """Return the laws along an axis, one row per rule."""
    heads = (f"against {WORDS[axis]}", *COLUMNS)
    return heads, [[rule, *cells] for rule, cells in rows(record, axis)]


def axes(record: dict[str, Any]) -> list[str]:
    """Return the axes along which a rule has a law."""
    return [axis for axis in record["laws"] if has_law(record, axis)]
