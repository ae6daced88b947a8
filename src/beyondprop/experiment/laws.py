"""Power laws: how a loss falls with size, data, computation or time, and what is not resolved.

Two rules are compared on the same units, a unit being a size and a seed: what is resampled is
resampled for both, so their laws differ by no more than they must.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from beyondprop.errors import UserError
from beyondprop.experiment.statistics import FEW, LEVEL, Interval

Numbers = NDArray[np.float64]

DRAWS = 2000
"""How often the units are resampled."""
SIZES = 3
"""Different places on the axis that a law needs at least."""
OFFSET_DRAWS = 200
ENDLESS = 1e12
"""A cost that stands for no end."""
OFFSETS = 40
"""Offsets that are tried, from none to almost the least loss."""
GAIN = 2.0
"""By how much a law with an offset must have the better criterion (Akaike's, small samples)."""


@dataclass(frozen=True)
class Law:
    """``loss = factor * x ** -exponent``.

    Attributes:
        factor: The loss at 1.
        exponent: How fast the loss falls, with the percentile interval of its bootstrap.
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
        if len(self.units) < FEW:
            return f"{len(self.units)} runs are too few for a bootstrap, which needs {FEW}"
        sizes = min(len({size for size, _ in self.units}), len(np.unique(self.x)))
        if sizes < SIZES:
            return f"{sizes} sizes are too few for a law, which needs {SIZES}"
        return None

    def some(self, units: Sequence[tuple[str, int]]) -> Points:
        """Return the points of these units, in their order."""
        place = {unit: i for i, unit in enumerate(self.units)}
        rows = [place[unit] for unit in units]
        return Points(self.x[rows], self.loss[rows], tuple(units))


def law(points: Points, level: float = LEVEL) -> Law | str:
    """Return the law of least squares in logarithms, or why there is none."""
    if why := points.enough:
        return why
    every = np.arange(len(points.units))[None]
    factor, exponent = (float(each[0]) for each in _fitted(points, every))
    drawn = _fitted(points, _draws(len(points.units)))[1]
    low, high = _ends(drawn, level)
    return Law(factor, Interval(exponent, low, high), float(points.x.min()), float(points.x.max()))


def common(first: Points, second: Points) -> tuple[Points, Points]:
    """Return the points of the units that both have, in one order."""
    units = [unit for unit in first.units if unit in set(second.units)]
    return first.some(units), second.some(units)


def difference(first: Points, second: Points, level: float = LEVEL) -> Interval | str:
    """Return by how much the first's exponent is larger, over the units that both have.

    Above zero the first's loss falls faster: where it is the higher, the ratio of both shrinks.
    """
    both = common(first, second)
    if why := both[0].enough:
        return why
    every, draws = np.arange(len(both[0].units))[None], _draws(len(both[0].units))
    value = _fitted(both[0], every)[1] - _fitted(both[1], every)[1]
    drawn = _fitted(both[0], draws)[1] - _fitted(both[1], draws)[1]
    return Interval(float(value[0]), *_ends(drawn, level))


def ratios(
    first: Points, second: Points, places: Sequence[float], level: float = LEVEL
) -> list[Interval] | str:
    """Return what the first's law says over what the second's does, at each of these x."""
    both = common(first, second)
    if why := both[0].enough:
        return why
    every, draws = np.arange(len(both[0].units))[None], _draws(len(both[0].units))
    return [
        Interval(float(_ratio(*both, every, x)[0]), *_ends(_ratio(*both, draws, x), level))
        for x in places
    ]


def costs(
    first: Points, second: Points, places: Sequence[float], level: float = LEVEL
) -> list[Interval] | str:
    """Return how many times as large an x the first takes for the same loss as the second, at each
    of these x of the first.

    The second's x may lie outside its range, where its law is extrapolated. Where the second's loss
    does not fall the answer is `ENDLESS`, which none is larger than.
    """
    both = common(first, second)
    if why := both[0].enough:
        return why
    every, draws = np.arange(len(both[0].units))[None], _draws(len(both[0].units))
    return [
        Interval(float(_cost(*both, every, x)[0]), *_ends(_cost(*both, draws, x), level))
        for x in places
    ]


def overlap(first: Points, second: Points) -> tuple[float, float] | None:
    """Return the range of x that both have points around, None where there is none."""
    low = max(first.x.min(), second.x.min())
    high = min(first.x.max(), second.x.max())
    return (float(low), float(high)) if low < high else None


def offset(points: Points, level: float = LEVEL) -> Interval | None:
    """Return the loss that is left at any size, where the points tell it from none.

    ``loss = offset + factor * x ** -exponent``. It is resolved where this law has a better
    criterion (Akaike's, corrected for small samples) by 2 at least, and the interval of the
    bootstrap lies above zero.
    """
    count = len(points.units)
    if points.enough or len({size for size, _ in points.units}) < SIZES + 1:
        return None
    every = np.arange(count)
    value, with_offset = _with_offset(points, every)
    without = _error(points, every, 0.0)
    if _criterion(without, count, 3) - _criterion(with_offset, count, 4) < GAIN:
        return None
    drawn = [_with_offset(points, rows)[0] for rows in _draws(count)[:OFFSET_DRAWS]]
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high)) if low > 0 else None


def _draws(count: int) -> NDArray[np.int64]:
    """Return which units each draw takes, ``(draws, count)``, always alike."""
    return np.random.default_rng(0).integers(count, size=(DRAWS, count))


def _fitted(points: Points, rows: NDArray[np.int64]) -> tuple[Numbers, Numbers]:
    """Return factors and exponents of draws, ``(draws,)`` each; NaN where all x are one."""
    x, y = np.log(points.x)[rows], np.log(points.loss)[rows]  # (draws, units)
    centred = x - x.mean(1, keepdims=True)
    spread = (centred**2).sum(1)
    spread = np.where(spread > 1e-12, spread, np.nan)
    slope = (centred * y).sum(1) / spread
    return np.exp(y.mean(1) - slope * x.mean(1)), -slope


def _ratio(first: Points, second: Points, rows: NDArray[np.int64], x: float) -> Numbers:
    above, below = (_fitted(each, rows) for each in (first, second))
    ratio: Numbers = above[0] / below[0] * x ** (below[1] - above[1])
    return ratio


def _cost(first: Points, second: Points, rows: NDArray[np.int64], x: float) -> Numbers:
    above, below = (_fitted(each, rows) for each in (first, second))
    loss = np.log(above[0]) - above[1] * np.log(x)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        cost: Numbers = np.exp(np.log(x) - (np.log(below[0]) - loss) / below[1])
    # No x is enough where the loss does not fall.
    return np.where(below[1] > 0, np.minimum(cost, ENDLESS), ENDLESS)


def _ends(drawn: Numbers, level: float) -> tuple[float, float]:
    low, high = np.nanquantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _with_offset(points: Points, rows: NDArray[np.int64]) -> tuple[float, float]:
    """Return the offset of least squared error in logarithms, and that error."""
    tried = np.linspace(0, 0.98, OFFSETS) * points.loss[rows].min()
    errors = [_error(points, rows, each) for each in tried]
    best = int(np.argmin(errors))
    return float(tried[best]), errors[best]


def _error(points: Points, rows: NDArray[np.int64], below: float) -> float:
    """Return the squared error in logarithms of the loss, where so much of it stays."""
    x, loss = np.log(points.x[rows]), points.loss[rows]
    y = np.log(loss - below)
    centred = x - x.mean()
    slope = (centred @ y) / max(float(centred @ centred), 1e-12)
    predicted = below + np.exp(y.mean() + slope * centred)
    return float(((np.log(loss) - np.log(predicted)) ** 2).sum())


def _criterion(error: float, count: int, parameters: int) -> float:
    """Return Akaike's criterion for few samples; the variance is one of the parameters."""
    plain = count * math.log(max(error, 1e-300) / count) + 2 * parameters
    return plain + 2 * parameters * (parameters + 1) / (count - parameters - 1)
