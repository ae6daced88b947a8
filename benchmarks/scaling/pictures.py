"""The plots of the recorded scaling studies: every run's loss, and the laws.

python -m benchmarks.scaling.pictures
"""

from itertools import cycle
from pathlib import Path
from typing import Any

from benchmarks.common.plotting import COLOURS, GREY, open_frame, svg
from benchmarks.common.records import RESULTS, load
from beyondprop.experiment.laws_table import WORDS
from beyondprop.experiment.scaling import along
from beyondprop.experiment.summary import LOWER, UPPER

SHOWN = ("parameters", "operations")
MARKERS = "osD^v"
TICKS = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 7)
"""Ticks of the losses, times powers of ten."""


def main() -> None:
    """Write a plot next to each record of results/scaling."""
    for path in sorted(RESULTS.glob("scaling/*.json")):
        draw(load(f"scaling/{path.stem}"), path.with_suffix(".svg"))


def draw(record: dict[str, Any], output: Path) -> None:
    """Draw the losses against parameters and against operations side by side."""
    with svg(output, 10, 4) as figure:
        both = figure.subplots(1, 2, sharey=True)
        for axes, axis in zip(both, SHOWN, strict=True):
            panel(axes, record, axis)
        both[0].set_ylabel("test loss")
        both[0].legend(frameon=False)


def panel(axes: Any, record: dict[str, Any], axis: str) -> None:
    """Draw the runs of each rule and its law along an axis."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.set_yscale("log")
    rules = [rule for rule in record["laws"][axis] if rule not in LOWER]
    others = zip(cycle(COLOURS), cycle(MARKERS[1:]), strict=False)
    for rule in rules:
        colour, marker = (GREY, MARKERS[0]) if rule == UPPER else next(others)
        own = along(record["runs"], rule, axis)
        x, y = [run[axis] for run in own], [run["loss"] for run in own]
        axes.plot(x, y, marker, color=colour, markersize=4, label=rule)
        found = record["laws"][axis][rule]
        if "exponent" in found:
            ends = found["range"]
            law = [found["factor"] * place ** -found["exponent"][0] for place in ends]
            axes.plot(ends, law, color=colour)
    axes.set_xlabel(WORDS[axis])
    axes.yaxis.set_major_locator(LogLocator(subs=TICKS))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(visible=True, axis="y", alpha=0.3)
    open_frame(axes)


if __name__ == "__main__":
    main()
