"""A comparison as a table on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from beyondprop.experiment.tuning import learning_rates

NOTHING = "–"


def table(comparison: Mapping[str, Any]) -> Table:
    """One row a rule; fits a terminal of 80 columns."""
    task = comparison["task"]
    seeds = ", ".join(map(str, comparison["seeds"]))
    title = f"{task['name']} ({task['data']}), seeds {seeds}"
    shown = Table(
        title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, show_edge=False
    )
    scores = [score(row["score_mean"], row["score_std"]) for row in comparison["rows"]]
    shown.add_column("rule", no_wrap=True)
    # A metric's name can be of any length: its heading wraps, so that nothing else is cut.
    widest = max(map(len, scores), default=0)
    heading = f"test {task['metric']}"
    shown.add_column(heading, justify="right", min_width=widest, overflow="fold")
    for column in ("recovery", "alignment", "step time", "memory", "runs"):
        shown.add_column(column, justify="right", no_wrap=True)
    for row, reached in zip(comparison["rows"], scores, strict=True):
        shown.add_row(
            row["rule"],
            reached,
            number(row["recovery"], ".1%"),
            number(row["alignment"], ".2f"),
            number(row["step_ratio"], ".2f", "x"),
            number(row["memory_ratio"], ".2f", "x"),
            f"{row['finished']}/{row['runs']}",
        )
    return shown


def score(mean: float | None, deviation: float | None) -> str:
    """A mean with its standard deviation, where there is one."""
    spread = "" if deviation is None else f" ± {deviation:.4f}"
    return number(mean, ".4f", spread)


def number(value: float | None, form: str, unit: str = "") -> str:
    """A number in its form, or a dash where there is none."""
    return NOTHING if value is None else f"{value:{form}}{unit}"


def legend(comparison: Mapping[str, Any]) -> str:
    """What became of the runs that are missing, and what the columns mean, in plain words."""
    return "\n".join(
        [
            *(
                f"{run['rule']['name']}, seed {run['seed']}: {run['status']}, {run['reason']}"
                for run in comparison["runs"]
                if run["status"] != "finished"
            ),
            "recovery: how much of what backprop gains over frozen hidden layers the rule gains",
            "alignment: cosine of the rule's last update of hidden blocks and the true gradient",
            "step time, memory (peak): relative to backprop in plain PyTorch",
            learning_rates(comparison["tuning"]),
        ]
    )
