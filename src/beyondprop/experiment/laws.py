"""Power laws of a loss in size, data, computation or time, with their uncertainty.

A law is a straight line through the mean logarithms of the losses of each size. The seeds of one
size share its learning rate and its deviation from the law, so only sizes are independent.
Intervals are Student's t intervals; the degrees of freedom are the number of sizes minus two. (A
bootstrap over single runs would treat all runs as independent, and its intervals would be too
narrow.) Two rules are compared on the same sizes and seeds, so that their common deviations cancel
in the difference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from beyondprop.errors import UserError
from beyondprop.experiment.statistics import LEVEL, Interval, quantile

Numbers = NDArray[np.float64]

SIZES = 3
"""Minimum number of different sizes for a law."""
ENDLESS = 1e12
"""A cost that represents an unbounded end of an interval."""
OFFSETS = 200
"""Number of offsets to try, from zero to almost the lowest loss."""
SMALLEST = 1e-12
"""The smallest variance that is distinguished from rounding errors of logarithms."""


@dataclass(frozen=True)
class Law:
    """``loss = factor * x ** -exponent``.

    Attributes:
        factor: The loss at 1.
        exponent: Rate at which the loss falls.
        low: Smallest x of the points.
        high: Largest x of the points.
    """

    factor: float
    exponent: Interval
    low: float
    high: float

    def at(self, x: float) -> float:
        """Return the predicted loss."""
        return float(self.factor * x**-self.exponent.value)


@dataclass(frozen=True, eq=False)
class Points:
    """The points to which a law is fitted: one loss for each unit.

    Attributes:
        x: Size, data, computation or time of each unit, ``(n,)``.
        loss: Loss of each unit, ``(n,)``, above zero.
        units: The size and the seed of each unit, ``n`` different pairs.

    Raises:
        UserError: The lengths differ, a unit occurs twice, or a number is not finite and above
            zero.
    """

    x: Numbers
    loss: Numbers
    units: tuple[tuple[str, int], ...]

    def __post_init__(self) -> None:
        same = len(self.x) == len(self.loss) == len(self.units) == len(set(self.units))
        both = np.concatenate([self.x, self.loss])
        if not (same and np.isfinite(both).all() and (both > 0).all()):
            raise UserError(
                "a power law needs one finite loss above zero, and one x above zero, for each unit"
            )

    @property
    def enough(self) -> str | None:
        """Why the points are too few for a law, or None."""
        sizes = min(len({size for size, _ in self.units}), len(np.unique(self.x)))
        if sizes < SIZES:
            found = "1 size is" if sizes == 1 else f"{sizes} sizes are"
            return f"{found} too few for a law, which needs {SIZES}"
        return None

    def some(self, units: Sequence[tuple[str, int]]) -> Points:
        """Return the points of these units, in the given order."""
        place = {unit: i for i, unit in enumerate(self.units)}
        rows = [place[unit] for unit in units]
        return Points(self.x[rows], self.loss[rows], tuple(units))


class Line:
    """The least-squares line through the mean logarithms of each size.

    Args:
        points: Points at three or more sizes.

    Attributes:
        x: Mean logarithm of each size's x, ``(sizes,)``.
        y: Mean logarithm of each size's loss, ``(sizes,)``.
        slopes: Coefficients whose product with y is the slope, ``(sizes,)``.
        residuals: y minus the line, ``(sizes,)``.
    """

    def __init__(self, points: Points) -> None:
        sizes = list(dict.fromkeys(size for size, _ in points.units))
        of = np.array([sizes.index(size) for size, _ in points.units])
        counts = np.bincount(of)
        self.x: Numbers = np.bincount(of, np.log(points.x)) / counts
        self.y: Numbers = np.bincount(of, np.log(points.loss)) / counts
        self.centred = self.x - self.x.mean()
        self.spread = float(self.centred @ self.centred)
        self.slopes: Numbers = self.centred / max(self.spread, SMALLEST)
        self.residuals: Numbers = self.y - self.y.mean() - self.centred * (self.slopes @ self.y)

    @property
    def freedom(self) -> int:
        """Residual degrees of freedom."""
        return len(self.x) - 2

    @property
    def exponent(self) -> float:
        """Rate at which the loss falls."""
        return -float(self.slopes @ self.y)

    def weights(self, x: float) -> Numbers:
        """Return coefficients ``(sizes,)`` whose product with y is the line at the logarithm x."""
        found: Numbers = 1 / len(self.x) + (x - self.x.mean()) * self.slopes
        return found


def law(points: Points, level: float = LEVEL) -> Law | str:
    """Return the least-squares law in logarithms, or why there is none."""
    if why := points.enough:
        return why
    line = Line(points)
    factor = math.exp(line.weights(0.0) @ line.y)
    exponent = _interval(line, None, -line.slopes, None, level)
    return Law(factor, exponent, float(points.x.min()), float(points.x.max()))


def common(first: Points, second: Points) -> tuple[Points, Points]:
    """Return the points of the units that both have, in the same order."""
    units = [unit for unit in first.units if unit in set(second.units)]
    return first.some(units), second.some(units)


def _lines(first: Points, second: Points) -> tuple[Line, Line] | str:
    """Return the lines of two rules over the units that both have, or why there are none."""
    both = common(first, second)
    if why := both[0].enough or both[1].enough:
        return why
    return Line(both[0]), Line(both[1])


def difference(first: Points, second: Points, level: float = LEVEL) -> Interval | str:
    """Return the first's exponent minus the second's, over the units that both have.

    Above zero, the first's loss falls faster. If it is the higher loss, the ratio of both shrinks.
    """
    lines = _lines(first, second)
    if isinstance(lines, str):
        return lines
    one, other = lines
    return _interval(one, other, -one.slopes, -other.slopes, level)


def ratios(
    first: Points, second: Points, places: Sequence[float], level: float = LEVEL
) -> list[Interval] | str:
    """Return the first law's loss divided by the second's, at each of these x."""
    lines = _lines(first, second)
    if isinstance(lines, str):
        return lines
    one, other = lines
    found = [
        _interval(one, other, one.weights(math.log(x)), other.weights(math.log(x)), level)
        for x in places
    ]
    return [Interval(*(math.exp(end) for end in (e.value, e.low, e.high))) for e in found]


def costs(
    first: Points, second: Points, places: Sequence[float], level: float = LEVEL
) -> list[Interval] | str:
    """Return the ratio of the first's x to the second's x at the same loss.

    It is given at each of these x of the first. The second's x may be outside its range, where its
    law is extrapolated. Its interval contains all x at which the second's law does not differ
    significantly from the first's loss (Fieller 1954). If the second's loss does not fall
    significantly, the interval is unbounded, and its end is `ENDLESS`.
    """
    lines = _lines(first, second)
    if isinstance(lines, str):
        return lines
    return [_cost(*lines, math.log(x), level) for x in places]


def _cost(one: Line, other: Line, x: float, level: float) -> Interval:
    """Return the ratio of one line's x to the other's at the one's loss at the logarithm x."""
    reached = float(one.weights(x) @ one.y)
    fall, mean = other.exponent, other.x.mean()
    if fall <= 0:
        return Interval(ENDLESS, 1 / ENDLESS, ENDLESS)
    there = (other.y.mean() - reached) / fall  # from the mean of the other's x
    own, both, its = _variances(one, other)
    weights, square = one.weights(x), quantile(other.freedom, level) ** 2
    gap = reached - other.y.mean()
    a = fall**2 - square * its / other.spread
    b = gap * fall + square * both * float(weights @ other.slopes)
    c = gap**2 - square * (
        own * float(weights @ weights) + (its - 2 * both * float(weights.sum())) / len(other.x)
    )
    ends = _roots(a, b, c)
    low, high = (math.exp(x - mean - end) for end in (ends[1], ends[0])) if ends else (0.0, ENDLESS)
    value = math.exp(min(x - mean - there, math.log(ENDLESS)))
    return Interval(value, max(low, 1 / ENDLESS), min(high, ENDLESS))


def _roots(a: float, b: float, c: float) -> tuple[float, float] | None:
    """Return the roots of ``a v² + 2 b v + c``, the lower first, if it is negative between them."""
    inside = b * b - a * c
    if a <= 0 or inside < 0:
        return None
    root = math.sqrt(inside)
    return (-b - root) / a, (-b + root) / a


def overlap(first: Points, second: Points) -> tuple[float, float] | None:
    """Return the range of x that is within both points' ranges, or None."""
    low = max(first.x.min(), second.x.min())
    high = min(first.x.max(), second.x.max())
    return (float(low), float(high)) if low < high else None


def offset(points: Points, level: float = LEVEL) -> Interval | None:
    """Return the irreducible loss, if the points distinguish it from zero; otherwise None.

    ``loss = offset + factor * x ** -exponent``. Its interval contains the offsets for which the
    law's squared error, in logarithms of the sizes' mean losses, does not differ significantly from
    the smallest one (a profile by the F test). The offset is resolved if this excludes zero.
    """
    from scipy.special import fdtri

    if points.enough:
        return None
    x, loss = _means(points)
    freedom = len(x) - 3
    if freedom < 1:
        return None
    tried = np.linspace(0, 0.98, OFFSETS) * loss.min()
    errors = np.array([_error(x, loss, each) for each in tried])
    best = int(np.argmin(errors))
    bound = errors[best] * (1 + fdtri(1, freedom, level) / freedom)
    within = tried[errors <= max(bound, SMALLEST)]
    if not within.min() > 0:
        return None
    return Interval(float(tried[best]), float(within.min()), float(within.max()))


def _means(points: Points) -> tuple[Numbers, Numbers]:
    """Return the geometric means of x and of the loss for each size."""
    line = Line(points)
    return np.exp(line.x), np.exp(line.y)


def _interval(
    one: Line, other: Line | None, own: Numbers, its: Numbers | None, level: float
) -> Interval:
    """Return a weighted sum of one line's y, minus one of the other's, with Student's interval."""
    value, variance = float(own @ one.y), _variances(one, one)[0] * float(own @ own)
    if other is not None and its is not None:
        mine, both, theirs = _variances(one, other)
        value -= float(its @ other.y)
        variance = float(mine * (own @ own) + theirs * (its @ its) - 2 * both * (own @ its))
    half = quantile(one.freedom, level) * math.sqrt(max(variance, 0.0))
    return Interval(value, value - half, value + half)


def _variances(one: Line, other: Line) -> tuple[float, float, float]:
    """Return the variance of one line's residuals, their covariance, and the other's variance."""
    pairs = ((one, one), (one, other), (other, other))
    found = [float(a.residuals @ b.residuals) / one.freedom for a, b in pairs]
    return found[0], found[1], found[2]


def _error(x: Numbers, loss: Numbers, below: float) -> float:
    """Return the squared error in logarithms of the loss, with an irreducible loss ``below``."""
    logs, y = np.log(x), np.log(loss - below)
    centred = logs - logs.mean()
    slope = (centred @ y) / max(float(centred @ centred), SMALLEST)
    predicted = below + np.exp(y.mean() + slope * centred)
    return float(((np.log(loss) - np.log(predicted)) ** 2).sum())
