"""Power laws: how a loss falls with size, data, computation or time, and what is not resolved.

A law is a straight line through the mean logarithms of the losses of each size. Seeds of a size
share its learning rate, and how far the law is wrong there, so sizes are what varies independently:
intervals are Student's, with as many degrees of freedom as there are sizes, less two. (A bootstrap
over single runs would take them all for independent, and its intervals would be too narrow.) Two
rules are compared on the same sizes and seeds; what both have in common takes nothing from how well
their difference is known.
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
"""Different places on the axis that a law needs at least."""
ENDLESS = 1e12
"""A cost that stands for no end."""
OFFSETS = 200
"""Offsets that are tried, from none to almost the least loss."""
SMALLEST = 1e-12
"""The least variance, relative to the logarithms' size, that numbers show."""


@dataclass(frozen=True)
class Law:
    """``loss = factor * x ** -exponent``.

    Attributes:
        factor: The loss at 1.
        exponent: How fast the loss falls.
        low: The least x of the points.
        high: The largest.
    """

    factor: float
    exponent: Interval
    low: float
    high: float

    def at(self, x: float) -> float:
        """Return the loss that it says."""
        return float(self.factor * x**-self.exponent.value)


@dataclass(frozen=True, eq=False)
class Points:
    """What a law is fitted to: one loss a unit.

    Attributes:
        x: Size, data, computation or time of each unit, ``(n,)``.
        loss: ``(n,)``, above zero.
        units: What each is, a size and a seed, ``n`` of them, none twice.

    Raises:
        UserError: They are not as many, or not finite numbers above zero.
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
        """Why these are too few for a law, or None."""
        sizes = min(len({size for size, _ in self.units}), len(np.unique(self.x)))
        if sizes < SIZES:
            found = "1 size is" if sizes == 1 else f"{sizes} sizes are"
            return f"{found} too few for a law, which needs {SIZES}"
        return None

    def some(self, units: Sequence[tuple[str, int]]) -> Points:
        """Return the points of these units, in their order."""
        place = {unit: i for i, unit in enumerate(self.units)}
        rows = [place[unit] for unit in units]
        return Points(self.x[rows], self.loss[rows], tuple(units))


class Line:
    """The line of least squares through the mean logarithms of each size.

    Args:
        points: At three sizes at least.

    Attributes:
        x: Mean logarithm of the place of each size, ``(sizes,)``.
        y: Of the loss.
        slopes: ``(sizes,)``, whose product with y is the slope.
        residuals: What the line leaves of y.
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
        """Degrees of freedom that the line leaves."""
        return len(self.x) - 2

    @property
    def exponent(self) -> float:
        """How fast the loss falls."""
        return -float(self.slopes @ self.y)

    def weights(self, x: float) -> Numbers:
        """Return ``(sizes,)`` numbers, whose product with y is the line at the logarithm x."""
        found: Numbers = 1 / len(self.x) + (x - self.x.mean()) * self.slopes
        return found


def law(points: Points, level: float = LEVEL) -> Law | str:
    """Return the law of least squares in logarithms, or why there is none."""
    if why := points.enough:
        return why
    line = Line(points)
    factor = math.exp(line.weights(0.0) @ line.y)
    exponent = _interval(line, None, -line.slopes, None, level)
    return Law(factor, exponent, float(points.x.min()), float(points.x.max()))


def common(first: Points, second: Points) -> tuple[Points, Points]:
    """Return the points of the units that both have, in one order."""
    units = [unit for unit in first.units if unit in set(second.units)]
    return first.some(units), second.some(units)


def _lines(first: Points, second: Points) -> tuple[Line, Line] | str:
    """Return the lines of two rules over the units that both have, or why there are none."""
    both = common(first, second)
    if why := both[0].enough or both[1].enough:
        return why
    return Line(both[0]), Line(both[1])


def difference(first: Points, second: Points, level: float = LEVEL) -> Interval | str:
    """Return by how much the first's exponent is larger, over the units that both have.

    Above zero the first's loss falls faster: where it is the higher, the ratio of both shrinks.
    """
    lines = _lines(first, second)
    if isinstance(lines, str):
        return lines
    one, other = lines
    return _interval(one, other, -one.slopes, -other.slopes, level)


def ratios(
    first: Points, second: Points, places: Sequence[float], level: float = LEVEL
) -> list[Interval] | str:
    """Return what the first's law says over what the second's does, at each of these x."""
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
    """Return how many times as large an x the first takes for the same loss as the second, at each
    of these x of the first.

    The second's x may lie outside its range, where its law is extrapolated. Its interval holds all
    x at which the second's law is not told from the first's loss (Fieller 1954). Where the second's
    loss is not told from one that does not fall, that has no end, and is `ENDLESS`.
    """
    lines = _lines(first, second)
    if isinstance(lines, str):
        return lines
    return [_cost(*lines, math.log(x), level) for x in places]


def _cost(one: Line, other: Line, x: float, level: float) -> Interval:
    """Return how many times as large an x the one takes for its loss at the logarithm x."""
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
    """Return where ``a v² + 2 b v + c`` is zero, the lower first, where it is below in between."""
    inside = b * b - a * c
    if a <= 0 or inside < 0:
        return None
    root = math.sqrt(inside)
    return (-b - root) / a, (-b + root) / a


def overlap(first: Points, second: Points) -> tuple[float, float] | None:
    """Return the range of x that both have points around, None where there is none."""
    low = max(first.x.min(), second.x.min())
    high = min(first.x.max(), second.x.max())
    return (float(low), float(high)) if low < high else None


def offset(points: Points, level: float = LEVEL) -> Interval | None:
    """Return the loss that is left at any size, where the points tell it from none.

    ``loss = offset + factor * x ** -exponent``. Its interval holds the offsets under which the
    law's squared error, in logarithms of the sizes' mean losses, is not told from the least one (a
    profile by the F test). It is resolved where that leaves out zero.
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
    """Return the mean place and the mean loss of each size, by logarithms."""
    line = Line(points)
    return np.exp(line.x), np.exp(line.y)


def _interval(
    one: Line, other: Line | None, own: Numbers, its: Numbers | None, level: float
) -> Interval:
    """Return a weighted sum of the one's y, less one of the other's, with Student's interval."""
    value, variance = float(own @ one.y), _variances(one, one)[0] * float(own @ own)
    if other is not None and its is not None:
        mine, both, theirs = _variances(one, other)
        value -= float(its @ other.y)
        variance = float(mine * (own @ own) + theirs * (its @ its) - 2 * both * (own @ its))
    half = quantile(one.freedom, level) * math.sqrt(max(variance, 0.0))
    return Interval(value, value - half, value + half)


def _variances(one: Line, other: Line) -> tuple[float, float, float]:
    """Return the variance of the one's residuals, both's covariance, and the other's variance."""
    pairs = ((one, one), (one, other), (other, other))
    found = [float(a.residuals @ b.residuals) / one.freedom for a, b in pairs]
    return found[0], found[1], found[2]


def _error(x: Numbers, loss: Numbers, below: float) -> float:
    """Return the squared error in logarithms of the loss, where so much of it stays."""
    logs, y = np.log(x), np.log(loss - below)
    centred = logs - logs.mean()
    slope = (centred @ y) / max(float(centred @ centred), SMALLEST)
    predicted = below + np.exp(y.mean() + slope * centred)
    return float(((np.log(loss) - np.log(predicted)) ** 2).sum())
