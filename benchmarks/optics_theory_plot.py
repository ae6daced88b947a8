"""The plot of `optics_theory.py`: dots are measured, lines are theory."""

import io
from pathlib import Path
from typing import Any

from beyondprop.files import (
    write_bytes,
)

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
MARKERS = "osD^"
SIZES = (5, 9, 5, 5)
"""Four steps and off-axis holography lie on one another."""
PANELS = (
    ("photons", "photoelectrons a pixel", "error", "log", "log"),
    ("bits", "bits of the camera", "error", "linear", "log"),
    ("clipped share", "full well / mean intensity", "share of pixels clipped", "linear", "log"),
    ("drift", "lifetimes since calibration", "correlation", "linear", "log"),
)
"""A part, its axes' labels and their scales."""


def draw(rows: list[dict[str, Any]], output: Path) -> None:
    """Write the plot as SVG."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    settings: dict[Any, Any] = {"svg.hashsalt": "beyondprop", "font.size": 10}
    with mpl.rc_context(settings):
        figure = Figure(figsize=(10, 7.5), layout="constrained")
        for axes, panel in zip(figure.subplots(2, 2).flat, PANELS, strict=True):
            lines(axes, [row for row in rows if row["part"] == panel[0]])
            axes.set_xlabel(panel[1])
            axes.set_ylabel(panel[2])
            axes.set_xscale(panel[3])
            axes.set_yscale(panel[4])
        figure.suptitle("dots: simulated; lines: theory", fontsize=10)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    write_bytes(output, buffer.getvalue())


def lines(axes: Any, rows: list[dict[str, Any]]) -> None:
    """Draw a line and dots for each way."""
    ways = list(dict.fromkeys(row["way"] for row in rows))
    for way, colour, marker, size in zip(ways, COLOURS, MARKERS, SIZES, strict=False):
        own = [row for row in rows if row["way"] == way]
        at = [row["at"] for row in own]
        axes.plot(at, [row["theory"] for row in own], color=colour, linewidth=1)
        dots = [row["measured"] for row in own]
        axes.plot(at, dots, marker, color=colour, label=way, markersize=size, fillstyle="none")
    if len(ways) > 1:
        axes.legend(frameon=False)
    axes.grid(visible=True, alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
