"""Marks that assign parts of a figure to rules, and tooltips of its points."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from beyondprop.report.style import Style
from beyondprop.report.svg import Tip

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 40
"""Most points of a line with tooltips."""
EDGE = 6
"""Pixels around the axes within which a point counts as visible."""

T = TypeVar("T")


@contextmanager
def of_rule(axes: Axes, style: Style) -> Iterator[None]:
    """Mark what is drawn in this context as belonging to a rule, so that the page can hide it."""
    before = set(axes.get_children())
    yield
    for artist in axes.get_children():
        if artist not in before:
            artist.set_gid(style.key)


def tips(axes: Axes, points: Iterable[tuple[float, float, str]], key: str = "") -> list[Tip]:
    """Return tooltips of points, without those outside the axes.

    Args:
        axes: The axes of the points, with final limits.
        points: Their data coordinates and texts.
        key: The key of the rule of the points.
    """
    whole, frame = axes.figure.bbox.height, axes.get_window_extent()
    found = []
    for x, y, text in points:
        left, up = map(float, axes.transData.transform((x, y)))
        across = frame.x0 - EDGE <= left <= frame.x1 + EDGE
        if across and frame.y0 - EDGE <= up <= frame.y1 + EDGE:
            found.append(Tip(left, whole - up, text, key))
    return found


def thinned(points: Sequence[T], most: int = MOST) -> list[T]:
    """Return at most `most` of the points, evenly spaced, including the first and the last."""
    if len(points) <= most:
        return list(points)
    return [points[round(i * (len(points) - 1) / (most - 1))] for i in range(most)]
