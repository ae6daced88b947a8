"""Attention against correctness: the weights of modalities that alone are right or wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from beyondprop.experiment.summary import mean
from beyondprop.report.figures import Exhibit
from beyondprop.report.figures.lines import label_ends
from beyondprop.report.figures.panel import MARGIN_BOTTOM, MARGIN_TOP, panel
from beyondprop.report.figures.tips import tips
from beyondprop.report.labels import text_width
from beyondprop.report.modal.cells import WEIGHTS
from beyondprop.report.modal.records import ModalComparison, title
from beyondprop.report.modal.trust import shown_methods
from beyondprop.report.style import MUTED, PAGE, Style
from beyondprop.report.svg import inline, plain
from beyondprop.report.text import capital, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Weights where a modality is right, and where it is wrong"
WIDTH, ROW = 400, 44
"""The width of a picture, and the height per modality."""
APART = 0.15
"""Offset of the weights of right modalities above the middle of a row, and of wrong ones below."""
LONGEST = 16
"""Most characters of a modality's name next to a picture."""

Weights = Mapping[str, Sequence[float]]
"""Weights by modality, one per seed that has one."""


def where_right(found: ModalComparison, styles: Mapping[str, Style], prefix: str) -> Exhibit | None:
    """Return the mean weight of each modality where it alone is right, and where it is wrong; None
    if that is unknown.
    """
    panels = []
    for i, method in enumerate(shown_methods(found)):
        right, wrong = sides(found, method)
        if any([*right.values(), *wrong.values()]):
            panels.append(_panel(found, method, (right, wrong), styles, f"{prefix}-right-{i}"))
    if not panels:
        return None
    seeds = "; small points are single seeds" * (len(found.seeds) > 1)
    caption = (
        "Mean weight of each modality over the test samples where that modality alone is right"
        " (filled) and over those where it is wrong (hollow): if the fusion follows the sample, the"
        f" filled point lies to the right of the hollow one; the line is an equal share{seeds}."
    )
    return Exhibit(TITLE, caption, tuple(panels))


def sides(found: ModalComparison, method: str) -> tuple[Weights, Weights]:
    """Return a method's weights of modalities where they are right, and where they are wrong."""
    trusts = found.trusts(method)
    right, wrong = (
        {
            name: [weight for of in side if (weight := of[name]) is not None]
            for name in found.modalities
        }
        for side in ([each.where_right for each in trusts], [each.where_wrong for each in trusts])
    )
    return right, wrong


def named_panel(
    found: ModalComparison, method: str, height: int
) -> tuple[dict[str, str], Figure, Axes]:
    """Return the modalities' names next to a method's picture, and the picture with space for them.

    Args:
        found: The comparison.
        method: The method of the picture.
        height: The height of the drawing in pixels.
    """
    names = {each: plain(shorten(each, LONGEST)) for each in found.modalities}
    right = 26 + max(map(text_width, names.values()))
    whole = MARGIN_TOP + height + MARGIN_BOTTOM
    return names, *panel(WIDTH, whole, right, capital(title(method)))


def _panel(
    found: ModalComparison,
    method: str,
    weights: tuple[Weights, Weights],
    styles: Mapping[str, Style],
    name: str,
) -> str:
    """Return the picture of one method: one row per modality."""
    right, wrong = weights
    count = len(found.modalities)
    names, figure, axes = named_panel(found, method, ROW * count)
    axes.axvline(1 / count, color=MUTED, linewidth=1)
    places = {each: count - 1.0 - row for row, each in enumerate(found.modalities)}
    for each, place in places.items():
        _dumbbell(axes, place, right[each], wrong[each], styles[each].colour)
    axes.set_ylim(-0.5, count - 0.5)
    axes.set_yticks([])
    most = max(weight for side in weights for of in side.values() for weight in of)
    axes.set_xlim(0, max(1.1 * most, 1.2 / count))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("mean weight")
    label_ends(axes, places, names, {each: styles[each].colour for each in places})
    told = {
        each: f"{names[each]} {WEIGHTS.full(mean(right[each]))} where right"
        f" and {WEIGHTS.full(mean(wrong[each]))} where wrong"
        for each in places
    }
    points = [
        (fmean(side[each]), place + away, told[each])
        for each, place in places.items()
        for side, away in ((right, APART), (wrong, -APART))
        if side[each]
    ]
    label = f"Mean weights of {title(method)}: {', '.join(told.values())}"
    return inline(figure, name, label, tips(axes, points))


def _dumbbell(
    axes: Axes, place: float, right: Sequence[float], wrong: Sequence[float], colour: str
) -> None:
    """Draw the weights of a modality: means as large points joined by a line, seeds as small
    points.
    """
    drawn = ((right, place + APART, colour), (wrong, place - APART, PAGE))
    known = [(side, y, fill) for side, y, fill in drawn if side]
    for side, y, _ in known:
        if len(side) > 1:
            at = [y] * len(side)
            axes.plot(side, at, "o", color=colour, alpha=0.6, markersize=4, markeredgewidth=0)
    means = [fmean(side) for side, _, _ in known]
    axes.plot(means, [y for _, y, _ in known], color=colour, linewidth=1.5)
    for x, (_, y, fill) in zip(means, known, strict=True):
        axes.plot(
            x,
            y,
            "o",
            color=colour,
            markerfacecolor=fill,
            markersize=9,
            markeredgewidth=1.8,
            clip_on=False,
        )
