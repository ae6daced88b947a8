"""The plot of `depth.py`: memory and time by depth, both axes logarithmic."""

import io
from pathlib import Path
from typing import Any

from beyondprop.files import (
    write_bytes,
)

COLOURS = ("#000000", "#7a7a7a", "#0072b2", "#d55e00", "#009e73", "#cc79a7")
MARKERS = "osD^vP"


def draw(rows: list[dict[str, Any]], output: Path) -> None:
    """Write the plot as SVG."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    settings: dict[Any, Any] = {"svg.hashsalt": "beyondprop", "font.size": 10}
    with mpl.rc_context(settings):
        figure = Figure(figsize=(10, 4), layout="constrained")
        panels = (("bytes", 1e6, "peak memory of a step, MB"), ("seconds", 1, "time of a step, s"))
        for axes, (field, unit, label) in zip(figure.subplots(1, 2), panels, strict=True):
            lines(axes, rows, field, unit)
            axes.set_ylabel(label)
        figure.axes[0].legend(frameon=False)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    write_bytes(output, buffer.getvalue())


def lines(axes: Any, rows: list[dict[str, Any]], field: str, unit: float) -> None:
    """Draw a line for each way."""
    ways = list(dict.fromkeys(row["way"] for row in rows))
    for way, colour, marker in zip(ways, COLOURS, MARKERS, strict=False):
        own = [row for row in rows if row["way"] == way]
        depths, values = [row["depth"] for row in own], [row[field] / unit for row in own]
        axes.plot(depths, values, color=colour, marker=marker, label=way)
    depths = sorted({row["depth"] for row in rows})
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(depths, [str(depth) for depth in depths])
    axes.minorticks_off()
    axes.set_xlabel("blocks")
    axes.grid(visible=True, alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
