"""The table of a comparison on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Column as TableColumn
from rich.table import Table

from beyondprop.experiment.spec import MEASURES
from beyondprop.experiment.summary import spread
from beyondprop.experiment.tuning import learning_rates
from beyondprop.measure import Column, Description, find_all
from beyondprop.measure.base import ABSENT

EDGE = " †"
"""Mark of a rule whose search ended at the edge of its learning rates."""

WIDTH = 80
"""Minimum width of a terminal in characters."""


def title(comparison: Mapping[str, Any]) -> str:
    """Return the title of a comparison: task, data and seeds."""
    task = comparison["task"]
    seeds = ", ".join(map(str, comparison["seeds"]))
    return f"{task['name']} ({task['data']}), seeds {seeds}"


def cells(comparison: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the cells of the table: the headings, then one row for each rule."""
    rows, runs, measured = comparison["rows"], comparison.get("runs", ()), columns(comparison)
    heads = (f"test {comparison['task']['metric']}", "recovery", *(each.label for each in measured))
    return [
        ("rule", *heads, "runs"),
        *(
            (
                row["rule"] + (EDGE if row.get("search_edge") else ""),
                score(row["score_mean"], spread(row, runs)),
                number(row["recovery"], ".1%"),
                *(each.text(row.get(each.key)) for each in measured),
                outcome(row),
            )
            for row in rows
        ),
    ]


def table(comparison: Mapping[str, Any]) -> Table:
    """Return the table with one row for each rule and one column for each figure.

    With the default measures it fits into 80 characters.
    """
    shown = Table(
        title=title(comparison),
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
    )
    (rule, metric, *figures), *rows = cells(comparison)
    shown.add_column(rule, no_wrap=True)
    # A metric's name can have any length: its heading wraps, so that nothing else is cut.
    widest = max((len(row[1]) for row in rows), default=0)
    shown.add_column(metric, justify="right", min_width=widest, overflow="fold")
    for heading in figures:
        shown.add_column(heading.replace(" ", "\n", 1), justify="right", no_wrap=True)
    for row in rows:
        shown.add_row(*row)
    needed = sum(map(width, shown.columns)) + 2 * (len(shown.columns) - 1)
    shown.width = needed if needed > WIDTH else None  # wider than the terminal instead of cut
    return shown


def width(column: TableColumn) -> int:
    """Return the width that a column needs: its widest cell, or its heading if that can't wrap."""
    heading = max(map(len, str(column.header).splitlines())) if column.no_wrap else 0
    return max([heading, *(len(str(cell)) for cell in column.cells)])


def columns(comparison: Mapping[str, Any]) -> list[Column]:
    """Return the columns of the comparison's measures, or the default ones for an old record."""
    described = comparison.get("measures")
    if described is None:
        return list(chain.from_iterable(measure.columns for measure in find_all(MEASURES)))
    read = [Description.read(each) for each in described.values()]
    return list(chain.from_iterable(each.columns for each in read))


def score(mean: float | None, half: float | None) -> str:
    """Return a mean with half of its interval, if it has one."""
    return number(mean, ".4f", "" if half is None else f" ± {half:.4f}")


def outcome(row: Mapping[str, Any]) -> str:
    """Return the numbers of finished, of all, and of diverged runs."""
    diverged = row.get("diverged")
    return f"{row['finished']}/{row['runs']}" + (f" ({diverged} div.)" if diverged else "")


SPREAD = "±: half of the 95% interval over seeds (Student's t)"
GAINED = {"frozen": "frozen hidden layers", "linear": "a linear model on the inputs"}
"""Descriptions of the lower controls."""


def recovery(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the note on recovery: its definition, or why it is missing for all or some rules."""
    reasons = list(dict.fromkeys(filter(None, (row.get("recovery_reason") for row in rows))))
    if reasons and all(row["recovery"] is None for row in rows):
        return f"recovery: not reported, because {reasons[0]}"
    known = next((row["recovery_below"] for row in rows if row.get("recovery_below")), "frozen")
    told = f"recovery: the share of backprop's gain over {GAINED[known]} that the rule achieves"
    return "; ".join([told, *(f"none, because {reason}" for reason in reasons)])


def below(comparison: Mapping[str, Any]) -> list[str]:
    """Return the notes on the lower controls and on chance, one line for each."""
    heads = [(run["rule"]["name"], run.get("head")) for run in comparison["runs"]]
    steps = dict.fromkeys(f"{name} is {head}" for name, head in heads if isinstance(head, str))
    open_ends = dict.fromkeys(
        f"{name}: the last layer is not solved to convergence"
        for name, head in heads
        if isinstance(head, Mapping) and not head.get("converged")
    )
    unsettled = dict.fromkeys(
        f"{name}: the penalty of the last layer is {head['edge']}"
        for name, head in heads
        if isinstance(head, Mapping) and not head.get("settled", True)
    )
    told = [*steps, *open_ends, *unsettled]
    if comparison.get("no_linear"):
        told.append(f"no linear model: {comparison['no_linear']}")
    if nothing := comparison.get("chance"):
        diverged = " (the score of a diverged run)" * any(
            run["status"] == "diverged" and nothing["score"] is not None
            for run in comparison["runs"]
        )
        told.append(f"chance: {number(nothing['score'], '.4f')}, {nothing['of']}{diverged}")
    return told


def number(value: float | None, form: str, unit: str = "") -> str:
    """Return a formatted number, or a dash for None."""
    return ABSENT if value is None else f"{value:{form}}{unit}"


def legend(comparison: Mapping[str, Any]) -> str:
    """Return the notes below the table: runs that did not finish, and the columns' meanings."""
    return "\n".join(
        [
            *(
                f"{run['rule']['name']}, seed {run['seed']}: {run['status']}, {run['reason']}"
                for run in comparison["runs"]
                if run["status"] != "finished"
            ),
            SPREAD,
            recovery(comparison["rows"]),
            *below(comparison),
            *(f"{each.label}: {each.meaning}" for each in columns(comparison) if each.meaning),
            learning_rates(comparison["tuning"]),
        ]
    )
