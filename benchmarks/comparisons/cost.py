"""The score of each rule of a comparison, against the time and the memory of its training step.

    python -m benchmarks.comparisons.cost fashion-small

Time and memory are relative to plain PyTorch backprop. The lower controls, frozen and the linear
model, are lines: a rule on such a line has learned nothing in its hidden layers.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.common.command_line import command_line
from benchmarks.common.plotting import COLOURS, GREY, open_frame, svg
from benchmarks.common.records import RESULTS, load
from beyondprop.errors import UserError

COSTS = {"step_ratio": "step time", "memory_ratio": "peak memory"}
CORNERS = (((7, 5), "left"), ((7, 5), "left"), ((-7, -13), "right"), ((7, -13), "left"))
"""Places for the names of points that may be close to each other."""
BELOW = {"frozen": "--", "linear": ":"}
"""The lower controls, with the style of their lines."""


def main(name: str, output: Path | None = None) -> None:
    """Draw a comparison whose step time and memory were measured.

    Args:
        name: The name of a record in results/comparisons.
        output: An SVG file; by default one next to the record.
    """
    record = load(f"comparisons/{name}")
    rows = [row for row in record["rows"] if row["score_mean"] is not None]
    shown = [row for row in rows if row["rule"] not in BELOW]
    if any(row[cost] is None for row in shown for cost in COSTS):
        raise UserError(f"{name} lacks a measured cost: compare with --measures step-time memory")
    with svg(output or RESULTS / "comparisons" / f"{name}.svg", 8.4, 3.2) as figure:
        panels = figure.subplots(1, len(COSTS), sharey=True)
        for axes, (cost, words) in zip(panels, COSTS.items(), strict=True):
            draw(axes, shown, cost)
            controls(axes, rows)
            axes.set_xlabel(f"{words} (plain PyTorch backprop: 1)")
            open_frame(axes)
        panels[0].set_ylabel(f"test {record['task']['metric']}, %")


def draw(axes: Any, rows: list[Mapping[str, Any]], cost: str) -> None:
    """Draw the rules as points with their 95% intervals over seeds."""
    axes.axvline(1, color=GREY, linewidth=0.8)
    for place, row in enumerate(rows):
        low, high = row["score_interval"] or (row["score_mean"],) * 2
        mean, colour = row["score_mean"], COLOURS[place % len(COLOURS)]
        spread = [[100 * (mean - low)], [100 * (high - mean)]]
        axes.errorbar(row[cost], 100 * mean, yerr=spread, fmt="o", color=colour, capsize=3)
        offset, side = CORNERS[place % len(CORNERS)]
        point, name = (row[cost], 100 * mean), row["rule"]
        axes.annotate(name, point, offset, textcoords="offset points", color=colour, ha=side)
    axes.margins(x=0.2)
    axes.locator_params(axis="x", nbins=6)


def controls(axes: Any, rows: list[Mapping[str, Any]]) -> None:
    """Draw the lower controls as lines."""
    for row in rows:
        if row["rule"] in BELOW:
            mean = 100 * row["score_mean"]
            axes.axhline(mean, color=GREY, linestyle=BELOW[row["rule"]], linewidth=1)
            axes.annotate(
                row["rule"],
                (1, mean),
                (-4, 3),
                xycoords=axes.get_yaxis_transform(),
                textcoords="offset points",
                ha="right",
                color=GREY,
            )


if __name__ == "__main__":
    command_line(main)
