"""Plots as SVG files, the same to the byte when they are drawn again."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from beyondprop.files import write_bytes

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
"""Told apart by people with any colour vision (Okabe and Ito 2008)."""

GREY = "#7a7a7a"


@contextmanager
def svg(output: Path, width: float, height: float) -> Iterator[Any]:
    """Give an empty figure to draw on; write it when that is done.

    Args:
        output: The SVG file.
        width: In inches.
        height: In inches.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    settings: dict[Any, Any] = {"svg.hashsalt": "beyondprop", "font.size": 10}
    with mpl.rc_context(settings):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    write_bytes(output, buffer.getvalue())


def open_frame(axes: Any) -> None:
    """Remove the lines above and to the right of a plot."""
    axes.spines[["top", "right"]].set_visible(False)
