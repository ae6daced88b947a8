"""Lines of a figure: a value by epoch over several runs, and labels at the ends of lines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from beyondprop.report.figures.panel import FONT
from beyondprop.report.labels import spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Curve:
    """A value by epoch over several runs: mean, lowest and highest."""

    epochs: list[int]
    mean: list[float]
    low: list[float]
    high: list[float]


def curve_of(series: Sequence[Mapping[int, float | None]]) -> Curve:
    """Return the mean and range over runs at the epochs at which every run has a value."""
    known = [{epoch for epoch, value in run.items() if value is not None} for run in series]
    epochs = sorted(set.intersection(*known)) if known else []
    values = [[v for run in series if (v := run[epoch]) is not None] for epoch in epochs]
    return Curve(
        epochs,
        [math.fsum(v) / len(v) for v in values],
        list(map(min, values)),
        list(map(max, values)),
    )


def label_ends(
    axes: Axes,
    ends: Mapping[str, float],
    names: Mapping[str, str],
    colours: Mapping[str, str],
    keys: Mapping[str, str] | None = None,
) -> None:
    """Label each line to the right of its end, and draw a connector if the label had to move.

    Args:
        axes: The axes of the lines.
        ends: The last value of each line.
        names: The labels.
        colours: The colours of the labels.
        keys: The keys of rules, if the lines belong to rules.
    """
    box, whole = axes.get_position(), axes.figure.bbox
    width, height = box.width * whole.width, box.height * whole.height
    low, high = axes.get_ylim()
    at = {key: min(max((y - low) / (high - low), 0), 1) * height for key, y in ends.items()}
    places = spread(list(at.values()), FONT + 3, 0, height)
    for (line, y), place in zip(at.items(), places, strict=True):
        gid = keys.get(line) if keys else None
        axes.text(
            1 + 20 / width,
            # From the middle of a capital letter to the baseline.
            (place - 0.36 * FONT) / height,
            names[line],
            transform=axes.transAxes,
            color=colours[line],
            gid=gid,
        )
        if abs(place - y) > 2:
            axes.plot(
                [1 + 6 / width, 1 + 17 / width],
                [y / height, place / height],
                transform=axes.transAxes,
                clip_on=False,
                color=colours[line],
                gid=gid,
                linewidth=0.8,
                alpha=0.7,
            )
