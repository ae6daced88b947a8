"""The plot of `depth.py`: memory and time by depth, both axes logarithmic."""

from pathlib import Path
from typing import Any

from benchmarks.common.plotting import COLOURS, GREY, open_frame, svg

MARKERS = "osD^vP"


def draw(rows: list[dict[str, Any]], output: Path) -> None:
    """Write the plot as SVG."""
    panels = (("bytes", 1e6, "peak memory of a step, MB"), ("seconds", 1, "time of a step, s"))
    with svg(output, 10, 4) as figure:
        for axes, (field, unit, label) in zip(figure.subplots(1, 2), panels, strict=True):
            lines(axes, rows, field, unit)
            axes.set_ylabel(label)
        figure.axes[0].legend(frameon=False)


def lines(axes: Any, rows: list[dict[str, Any]], field: str, unit: float) -> None:
    """Draw a line for each method."""
    methods = list(dict.fromkeys(row["way"] for row in rows))
    for method, colour, marker in zip(methods, ("#000000", GREY, *COLOURS), MARKERS, strict=False):
        own = [row for row in rows if row["way"] == method]
        depths, values = [row["depth"] for row in own], [row[field] / unit for row in own]
        axes.plot(depths, values, color=colour, marker=marker, label=method)
    depths = sorted({row["depth"] for row in rows})
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(depths, [str(depth) for depth in depths])
    axes.minorticks_off()
    axes.set_xlabel("blocks")
    axes.grid(visible=True, alpha=0.3)
    open_frame(axes)
