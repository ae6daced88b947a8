"""Labels at points, instead of a legend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from beyondprop.report.figures.panel import FONT
from beyondprop.report.figures.tips import of_rule
from beyondprop.report.labels import Box, beside, text_width
from beyondprop.report.records import RuleRow
from beyondprop.report.style import Style
from beyondprop.report.svg import plain
from beyondprop.report.text import label, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def name_points(
    axes: Axes,
    points: Sequence[tuple[float, float]],
    rows: Sequence[RuleRow],
    styles: Mapping[str, Style],
) -> None:
    """Write each rule's name next to its point, without overlap with other names and points."""
    at = [tuple(axes.transData.transform(point)) for point in points]
    taken = [*_outside(axes), _line_at(axes, 1)]
    taken += [(x - 6, y - 6, x + 6, y + 6) for x, y in at]
    taken += [_bar(axes, x, row) for (x, _), row in zip(points, rows, strict=True)]
    for (x, y), row in zip(at, rows, strict=True):
        name = plain(shorten(label(row.rule)))
        box = beside(x, y, text_width(name), FONT + 1, taken)
        taken.append(box)
        axes.annotate(
            name,
            xy=((box[0] + box[2]) / 2, (box[1] + box[3]) / 2),
            xycoords="figure pixels",
            ha="center",
            va="center_baseline",
            color=styles[row.rule].colour,
            gid=styles[row.rule].key,
        )
        if box[1] > y or box[3] < y:
            edge = (min(max(x, box[0]), box[2]), box[1] if box[1] > y else box[3])
            with of_rule(axes, styles[row.rule]):
                _join(axes, (x, y), edge, styles[row.rule].colour)


def _outside(axes: Axes) -> list[Box]:
    """Return the boxes around the axes, in pixels."""
    frame, far = axes.get_window_extent(), 1e4
    return [
        (-far, -far, frame.x0, far),
        (frame.x1, -far, far, far),
        (-far, frame.y1, far, far),
        (-far, -far, far, frame.y0),
    ]


def _line_at(axes: Axes, cost: float) -> Box:
    """Return the box of the vertical line at `cost`, in pixels."""
    frame, x = axes.get_window_extent(), float(axes.transData.transform((cost, 0))[0])
    return (x - 1, frame.y0, x + 1, frame.y1)


def _bar(axes: Axes, cost: float, row: RuleRow) -> Box:
    """Return the box of the bar of the interval, in pixels."""
    mean, deviation = row.score_mean or 0.0, row.spread or 0.0
    x, low = axes.transData.transform((cost, mean - deviation))
    _, high = axes.transData.transform((cost, mean + deviation))
    return (x - 2, low, x + 2, high)


def _join(axes: Axes, point: tuple[float, float], name: tuple[float, float], colour: str) -> None:
    """Draw a thin line from a point to its name, in pixels."""
    xs, ys = zip(point, name, strict=True)
    axes.plot(xs, ys, transform=None, color=colour, linewidth=0.8, alpha=0.7)
