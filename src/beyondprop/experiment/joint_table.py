"""The table of a comparison on several tasks: rules × tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from beyondprop.experiment.table import EDGE, number
from beyondprop.measure.base import ABSENT


def joint_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return the table with one row for each rule and one column for each task.

    A cell contains the score and the recovery.

    Args:
        rows: Rows of `several.joint`.
    """
    shown = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    shown.add_column("rule", no_wrap=True)
    for task in dict.fromkeys(task for row in rows for task in row["on"]):
        shown.add_column(task, justify="right", no_wrap=True)
    for row in rows:
        shown.add_row(row["rule"], *map(cell, row["on"].values()))
    return shown


LEGEND = "each task: mean test score ± half its 95 % interval over seeds, and the recovery"


def cell(figures: Mapping[str, Any] | None) -> str:
    """Return a rule's figures on one task: `0.9713 ± 0.0052 (76 %)`."""
    if figures is None:
        return ABSENT
    low, high = figures["score_interval"] or (None, None)
    spread = "" if low is None else f" ± {(high - low) / 2:.4f}"
    edge = EDGE if figures.get("search_edge") else ""
    score = number(figures["score_mean"], ".4f", spread + edge)
    kept = figures["recovery"]
    lost = figures["runs"] - figures["finished"]
    of = f" {figures['finished']}/{figures['runs']} runs" if lost else ""
    return f"{score}{'' if kept is None else f' ({kept:.0%})'}{of}"
