"""The windows of the learning curves: the full range, and an enlarged end if that shows more."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from beyondprop.report.figures.lines import Curve
from beyondprop.report.records import FROZEN

# An enlarged window must show at least this much more.
ENLARGED = 2.0
MARGIN = 0.06


@dataclass(frozen=True)
class Window:
    """Epochs `first` to `last`, scores from `low` to `high`; all scores if these are None."""

    first: int
    last: int
    low: float | None = None
    high: float | None = None

    def below(self, curves: Mapping[str, Curve]) -> list[str]:
        """Return the rules that end below this window."""
        return [r for r, c in curves.items() if self.low is not None and c.mean[-1] < self.low]


def windows(curves: Mapping[str, Curve], last: int) -> list[Window]:
    """Return the full window, and the second half of the epochs enlarged if that shows more.

    The enlarged window begins at the lower control, frozen, if it is known: a rule far below it
    would leave no space for the others.
    """
    whole, half = Window(0, last), math.ceil(last / 2)
    late = {rule: _means(curve, half) for rule, curve in curves.items()}
    every = [value for values in late.values() for value in values]
    if half < 2 or not every:
        return [whole]
    low, high = min(late.get(FROZEN) or every), max(every)
    seen = [value for curve in curves.values() for value in curve.mean]
    if low >= high or (max(seen) - min(seen)) / (high - low) < ENLARGED:
        return [whole]
    margin = MARGIN * (high - low)
    return [whole, Window(half, last, low - margin, high + margin)]


def _means(curve: Curve, first: int) -> list[float]:
    return [mean for epoch, mean in zip(curve.epochs, curve.mean, strict=True) if epoch >= first]
