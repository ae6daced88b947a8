"""The plot of `theory.py`: dots are measured, lines are theory."""

from pathlib import Path
from typing import Any

from benchmarks.common.plotting import COLOURS, open_frame, svg

MARKERS = "osD^"
SIZES = (5, 9, 5, 5)
"""Sizes of the dots, since four-step and off-axis holography coincide."""
PANELS = (
    ("photons", "photoelectrons a pixel", "error", "log", "log"),
    ("bits", "bits of the camera", "error", "linear", "log"),
    ("clipped share", "full well / mean intensity", "share of pixels clipped", "linear", "log"),
    ("drift", "lifetimes since calibration", "correlation", "linear", "log"),
)
"""The parts, with the labels and the scales of their axes."""


def draw(rows: list[dict[str, Any]], output: Path) -> None:
    """Write the plot as SVG."""
    with svg(output, 10, 7.5) as figure:
        for axes, panel in zip(figure.subplots(2, 2).flat, PANELS, strict=True):
            lines(axes, [row for row in rows if row["part"] == panel[0]])
            axes.set_xlabel(panel[1])
            axes.set_ylabel(panel[2])
            axes.set_xscale(panel[3])
            axes.set_yscale(panel[4])
        figure.suptitle("dots: simulated; lines: theory", fontsize=10)


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
    open_frame(axes)
