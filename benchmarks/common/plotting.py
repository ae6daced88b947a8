"""Plots as SVG files that are identical to the byte when drawn again."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from beyondprop.files import write_bytes

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
"""Colours that people with any colour vision can distinguish (Okabe and Ito 2008)."""

GREY = "#7a7a7a"


@contextmanager
def svg(output: Path, width: float, height: float) -> Iterator[Any]:
    """Yield an empty figure to draw on, and write it at the end.

    Args:
        output: The SVG file.
        width: The width in inches.
        height: The height in inches.
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
