"""Common parts of the figures of an audit: panels with a row for each rule, and heat maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from beyondprop.report.figures.lines import label_ends
from beyondprop.report.figures.panel import MARGIN_BOTTOM, MARGIN_TOP, panel
from beyondprop.report.figures.tips import of_rule
from beyondprop.report.labels import text_width
from beyondprop.report.style import PAGE, Style
from beyondprop.report.svg import plain
from beyondprop.report.text import label, minus, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, ROW = 400, 30
"""Width of a panel with rows, and height of a row."""
SMALL, LOW = 300, 220
"""Width and height of a small panel."""
LONGEST = 22
"""Most characters of a rule's name next to a panel."""
HEAT, COLD = (0.835, 0.369, 0.0), (0.0, 0.447, 0.698)
"""Colours of positive and negative numbers, visible on light and on dark pages."""


def name_of(rule: str, length: int = LONGEST) -> str:
    """Return a rule's name as a label of a figure."""
    return plain(shorten(label(rule), length))


def rows_panel(
    rules: Sequence[str], styles: Mapping[str, Style], title: str = "", row: int = ROW
) -> tuple[Figure, Axes, dict[str, float]]:
    """Return a panel with a row for each rule, the first on top, and the rows' positions."""
    names = {rule: name_of(rule) for rule in rules}
    right = 26 + max(map(text_width, names.values()))
    figure, axes = panel(WIDTH, MARGIN_TOP + MARGIN_BOTTOM + row * len(rules), right, title)
    places = {rule: len(rules) - 1.0 - i for i, rule in enumerate(rules)}
    axes.set_ylim(-0.5, len(rules) - 0.5)
    axes.set_yticks([])
    axes.grid(visible=True, axis="x")
    colours = {rule: styles[rule].colour for rule in rules}
    label_ends(axes, places, names, colours, {rule: styles[rule].key for rule in rules})
    return figure, axes, places


def marks(
    axes: Axes, values: Sequence[float], place: float, style: Style, filled: bool = True
) -> None:
    """Draw the numbers of a row: their mean as a large mark, and each seed as a small one."""
    if not values:
        return
    with of_rule(axes, style):
        if len(values) > 1:
            axes.plot(
                values, [place] * len(values), "o", color=style.colour, alpha=0.5, markersize=3.5,
                markeredgewidth=0,
            )  # fmt: skip
        axes.plot(
            fmean(values), place, "o", color=style.colour, markersize=8, markeredgewidth=1.6,
            markerfacecolor=style.colour if filled else PAGE, clip_on=False,
        )  # fmt: skip


def heat(axes: Axes, tints: Sequence[Sequence[float]]) -> None:
    """Draw a grid of tints, the first row on top.

    Args:
        axes: Axes with a whole number for each column and row.
        tints: From 0, the page's colour, to 1; negative tints, to -1, have the other colour.
    """
    import numpy as np

    found = np.nan_to_num(np.asarray(tints, dtype=float))  # (rows, columns)
    pixels = np.zeros((*found.shape, 4))  # (rows, columns, red green blue opacity)
    pixels[..., :3] = np.where(found[..., None] < 0, COLD, HEAT)
    pixels[..., 3] = np.abs(found).clip(0, 1)
    axes.imshow(pixels, aspect="auto", interpolation="none")
    axes.grid(visible=False)


def few_numbers(axes: Axes) -> None:
    """Format the numbers of the vertical axis in a short form, with real minus signs."""
    axes.yaxis.set_major_formatter(lambda value, _: minus(f"{value:.3g}"))


def in_order(values: Mapping[str, float]) -> str:
    """Return numbers by name, for screen readers."""
    return ", ".join(f"{name_of(rule)} {minus(f'{value:.3g}')}" for rule, value in values.items())
