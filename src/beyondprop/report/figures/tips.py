"""What of a figure belongs to which rule, and what is told of its points."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from beyondprop.report.style import Style
from beyondprop.report.svg import Tip

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 40
"""Points of a line that are told."""
EDGE = 6
"""Pixels around the axes in which a point counts as drawn."""

T = TypeVar("T")


@contextmanager
def of_rule(axes: Axes, style: Style) -> Iterator[None]:
    """Mark what is drawn within as the rule's that has this style; the page can then hide it."""
    before = set(axes.get_children())
    yield
    for artist in axes.get_children():
        if artist not in before:
            artist.set_gid(style.key)


def tips(axes: Axes, points: Iterable[tuple[float, float, str]], key: str = "") -> list[Tip]:
    """Return what is told of points, left out those that lie beside the axes.

    Args:
        axes: Where they are drawn, with the limits that it keeps.
        points: Their places as data, and the words.
        key: That of the rule whose points they are.
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
    """Return at most so many of the points, evenly spread, with the first and the last."""
    if len(points) <= most:
        return list(points)
    return [points[round(i * (len(points) - 1) / (most - 1))] for i in range(most)]
