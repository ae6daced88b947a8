"""A value by epoch, over several runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Curve:
    """A value by epoch over several runs: mean, lowest and highest."""

    epochs: list[int]
    mean: list[float]
    low: list[float]
    high: list[float]


def curve_of(series: Sequence[Mapping[int, float | None]]) -> Curve:
    """The mean and range over runs at the epochs at which every run has a value."""
    known = [{epoch for epoch, value in run.items() if value is not None} for run in series]
    epochs = sorted(set.intersection(*known)) if known else []
    values = [[v for run in series if (v := run[epoch]) is not None] for epoch in epochs]
    return Curve(
        epochs,
        [math.fsum(v) / len(v) for v in values],
        list(map(min, values)),
        list(map(max, values)),
    )
