"""The tables of networks of several modalities: sentences, headings and rows, made of records."""

from collections.abc import Iterable
from typing import Any

from benchmarks.common.tables import Cells
from beyondprop.experiment import modal_table
from beyondprop.report.modal.headline import headline, helps
from beyondprop.report.modal.read import read_modalities

NOTHING = "No comparison of methods for several modalities is recorded yet."


def verdict(records: Iterable[dict[str, Any]]) -> str:
    """Return what comparisons found, a sentence each, as Markdown; where pre-training doesn't help
    comes first.
    """
    known = sorted(map(read_modalities, records), key=helps)
    told = [f"{headline(each)}." for each in known]
    if len(told) < 2:
        return told[0] if told else NOTHING
    return "\n".join(f"- {sentence}" for sentence in told)


def methods(record: dict[str, Any]) -> Cells:
    """Return what each method reaches: one row a method."""
    return ("method", *modal_table.HEADS), list(modal_table.rows(record))


def notes(record: dict[str, Any]) -> str:
    """Return what a reader must know of a comparison, as Markdown."""
    return "\n".join(f"- {sentence}" for sentence in modal_table.notes(record))
