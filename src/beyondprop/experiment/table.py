"""A comparison as a table on the terminal."""

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
"""Behind a rule whose search ended at the edge of the learning rates that it tried."""

WIDTH = 80
"""Characters that a terminal has at least."""


def title(comparison: Mapping[str, Any]) -> str:
    """Return what was compared: task, data and seeds."""
    task = comparison["task"]
    seeds = ", ".join(map(str, comparison["seeds"]))
    return f"{task['name']} ({task['data']}), seeds {seeds}"


def cells(comparison: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the texts of the table: the headings, then one row a rule."""
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
    """Return one row a rule, a column for each figure; fits a terminal of 80 columns by default."""
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
    # A metric's name can be of any length: its heading wraps, so that nothing else is cut.
    widest = max((len(row[1]) for row in rows), default=0)
    shown.add_column(metric, justify="right", min_width=widest, overflow="fold")
    for heading in figures:
        shown.add_column(heading.replace(" ", "\n", 1), justify="right", no_wrap=True)
    for row in rows:
        shown.add_row(*row)
    needed = sum(map(width, shown.columns)) + 2 * (len(shown.columns) - 1)
    shown.width = needed if needed > WIDTH else None  # rather wider than the terminal than cut
    return shown


def width(column: TableColumn) -> int:
    """Return the characters that a column needs: its widest cell, or its heading if that cannot
    wrap.
    """
    heading = max(map(len, str(column.header).splitlines())) if column.no_wrap else 0
    return max([heading, *(len(str(cell)) for cell in column.cells)])


def columns(comparison: Mapping[str, Any]) -> list[Column]:
    """Return the figures that the comparison's measures show; of one that says none the usual
    ones.
    """
    described = comparison.get("measures")
    if described is None:
        return list(chain.from_iterable(measure.columns for measure in find_all(MEASURES)))
    read = [Description.read(each) for each in described.values()]
    return list(chain.from_iterable(each.columns for each in read))


def score(mean: float | None, half: float | None) -> str:
    """Return a mean with half of its interval, where there is one."""
    return number(mean, ".4f", "" if half is None else f" ± {half:.4f}")


def outcome(row: Mapping[str, Any]) -> str:
    """Return how many runs finished, of how many, and how many diverged."""
    diverged = row.get("diverged")
    return f"{row['finished']}/{row['runs']}" + (f" ({diverged} div.)" if diverged else "")


SPREAD = "±: half of the 95% interval over seeds (Student's t)"
GAINED = {"frozen": "frozen hidden layers", "linear": "a linear model on the inputs"}
"""What the lower controls are, in words."""


def recovery(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return what recovery is relative to, or why there is none; of a rule alone too."""
    reasons = list(dict.fromkeys(filter(None, (row.get("recovery_reason") for row in rows))))
    if reasons and all(row["recovery"] is None for row in rows):
        return f"recovery: not reported, because {reasons[0]}"
    known = next((row["recovery_below"] for row in rows if row.get("recovery_below")), "frozen")
    told = f"recovery: the share of backprop's gain over {GAINED[known]} that the rule achieves"
    return "; ".join([told, *(f"none, because {reason}" for reason in reasons)])


def below(comparison: Mapping[str, Any]) -> list[str]:
    """Return what is known of the lower controls and of chance, a line each."""
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
    """Return a number in its form, or a dash where there is none."""
    return ABSENT if value is None else f"{value:{form}}{unit}"


def legend(comparison: Mapping[str, Any]) -> str:
    """Return what became of the runs that are missing, and what the columns mean, in plain
    words.
    """
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
