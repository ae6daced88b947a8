"""The common properties of all panels: size, margins, fonts and plain axes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from beyondprop.errors import UserError, install
from beyondprop.report.style import INK, LINE, MUTED
from beyondprop.report.svg import plain
from beyondprop.report.text import ScoreFormat, minus, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# One unit of a figure is one CSS pixel: matplotlib's SVG has 72 units per inch.
UNITS = 72
FONT = 12
BOLD = 8  # pixels of a bold character
MARGIN_LEFT, MARGIN_TOP, MARGIN_BOTTOM = 40, 28, 38
_SETTINGS: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": FONT,
    "svg.fonttype": "none",
    "svg.hashsalt": "beyondprop",
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": MUTED,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "ytick.major.size": 0,
    "axes.unicode_minus": True,
}


@contextmanager
def page_style() -> Iterator[None]:
    """Yield with the settings for drawing and writing figures; then restore matplotlib's own."""
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise UserError(f"the report needs matplotlib: {install('report')}") from error
    with mpl.rc_context(), warnings.catch_warnings():
        # The browser draws the text, so a glyph missing from matplotlib's font does no harm.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        yield


def panel(width: int, height: int, right: int = 12, title: str = "") -> tuple[Figure, Axes]:
    """Return a figure of `width` x `height` CSS pixels with one pair of axes.

    Args:
        width: The figure's width.
        height: The figure's height.
        right: The space to the right of the axes, for labels.
        title: The title at the top left, above the axes.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / UNITS, height / UNITS), dpi=UNITS)
    figure.patch.set_visible(False)
    axes = figure.add_axes(
        (
            MARGIN_LEFT / width,
            MARGIN_BOTTOM / height,
            (width - MARGIN_LEFT - right) / width,
            (height - MARGIN_TOP - MARGIN_BOTTOM) / height,
        )
    )
    axes.grid(visible=False, axis="x")
    if title:
        figure.text(
            0, 1 - 13 / height, shorten(plain(title), width // BOLD), color=INK, fontweight="bold"
        )
    return figure, axes


def epoch_axis(axes: Axes, first: int, last: int) -> None:
    """Set the range of the horizontal axis to the epochs `first` to `last`."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlim(first, max(last, first + 1))
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))


def score_axis(axes: Axes, scores: ScoreFormat) -> None:
    """Format the vertical axis as scores, without accuracies above 100%."""
    factor = 100 if scores.percent else 1
    bottom, top = axes.get_ylim()
    top = min(top, 1) if scores.percent else top
    axes.set_yticks([tick for tick in axes.get_yticks() if bottom <= tick <= top])
    axes.yaxis.set_major_formatter(lambda value, _: minus(f"{value * factor:.6g}"))
