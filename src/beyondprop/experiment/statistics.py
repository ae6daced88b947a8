"""Statistics of the scores of several seeds: intervals, ratios and significant differences.

All scores are paired: scores at the same index come from the same seed, which gives the same
initial weights, split and order of the data for every rule.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from beyondprop.errors import UserError

LEVEL = 0.95
FEW = 10
"""Minimum number of units for a bootstrap's interval to have its nominal coverage."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval.

    Attributes:
        value: The estimate.
        low: The interval's lower end.
        high: The interval's upper end.
    """

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval is entirely on one side of zero."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Difference:
    """How two rules differ over the same seeds.

    Attributes:
        first: A rule.
        second: Another rule.
        interval: The first's score minus the second's.
        p: The p-value of no difference, adjusted by Holm's method for all pairs of a table.
    """

    first: str
    second: str
    interval: Interval
    p: float

    @property
    def real(self) -> bool:
        """Whether the difference is significant, adjusted for all pairs of the table."""
        return self.p < 1 - LEVEL


def quantile(freedom: int, level: float = LEVEL) -> float:
    """Return the half-width of Student's two-sided interval, in standard errors."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + level) / 2))


def paired(
    first: Sequence[float],
    second: Sequence[float] | None = None,
    overlap: float = 0.0,
    resolution: float = 0.0,
    level: float = LEVEL,
) -> Interval | None:
    """Return the mean difference of pairs with Student's interval for n - 1 degrees of freedom.

    Args:
        first: Scores, one for each seed.
        second: Scores to subtract; None for the mean of the first alone.
        overlap: For scores on repeated random splits of one data set, the number of test samples
            divided by that of training samples. The training sets overlap, so the variance of the
            mean is ``1/n + overlap`` times that of one score (Nadeau and Bengio 2003, equation 9).
        resolution: Smallest possible difference of two scores, 1/n for an accuracy of n samples.
            A few scores may be equal only by rounding, so the variance is at least that of the
            rounding of both.
        level: Coverage probability of the interval.

    Returns:
        The interval; None for fewer than two pairs.

    Raises:
        UserError: The numbers of scores differ.
    """
    differences = _differences(first, second)
    if len(differences) < 2:
        return None
    mean = statistics.fmean(differences)
    half = quantile(len(differences) - 1, level) * _error(differences, overlap, resolution)
    return Interval(mean, mean - half, mean + half)


def fieller(
    gain: Sequence[float], whole: Sequence[float], overlap: float = 0.0, level: float = LEVEL
) -> Interval | None:
    """Return the ratio of the means of paired numbers with Fieller's interval.

    Args:
        gain: The numerators, one for each seed: a rule's score minus the lower control's.
        whole: The denominators: backprop's score minus the lower control's.
        overlap: See `paired`.
        level: Coverage probability of the interval.

    Returns:
        The interval; None for fewer than two pairs, or if the interval of the denominator's mean
        contains zero, because the set of ratios is then unbounded (Fieller 1954).

    Raises:
        UserError: The numbers of scores differ.
    """
    base = paired(whole, None, overlap, level=level)
    _differences(gain, whole)
    if base is None or not base.excludes_zero:
        return None
    count = len(gain)
    t = quantile(count - 1, level)
    top, bottom = statistics.fmean(gain), base.value
    share = 1 / count + overlap
    of_top = statistics.variance(gain) * share
    of_bottom = statistics.variance(whole) * share
    of_both = statistics.covariance(gain, whole) * share
    # The ratios r with |top - r bottom| ≤ t · standard error: a quadratic in r.
    a = bottom**2 - t**2 * of_bottom
    b = top * bottom - t**2 * of_both
    c = top**2 - t**2 * of_top
    root = math.sqrt(max(b * b - a * c, 0.0))
    return Interval(top / bottom, (b - root) / a, (b + root) / a)


def holm(chances: Mapping[tuple[str, str], float]) -> dict[tuple[str, str], float]:
    """Return p-values adjusted for the family-wise error rate (Holm 1979).

    Args:
        chances: The unadjusted p-value of each comparison.
    """
    ordered = sorted(chances, key=chances.__getitem__)
    found: dict[tuple[str, str], float] = {}
    least = 0.0
    for place, pair in enumerate(ordered):
        least = max(least, min(1.0, (len(ordered) - place) * chances[pair]))
        found[pair] = least
    return found


def differences(
    scores: Mapping[str, Sequence[float]],
    overlap: float = 0.0,
    resolution: float = 0.0,
    pairs: Iterable[tuple[str, str]] | None = None,
) -> list[Difference]:
    """Return how pairs of rules differ, with Holm's p-values.

    Args:
        scores: For each rule, one score for each seed, in the same order of seeds.
        overlap: See `paired`.
        resolution: See `paired`.
        pairs: Pairs to compare. Default: all.
    """
    intervals, chances = {}, {}
    for pair in combinations(scores, 2) if pairs is None else pairs:
        first, second = (scores[name] for name in pair)
        interval = paired(first, second, overlap, resolution)
        if interval is not None:
            intervals[pair] = interval
            chances[pair] = chance(_differences(first, second), overlap, resolution)
    adjusted = holm(chances)
    return [Difference(*pair, intervals[pair], adjusted[pair]) for pair in intervals]


def chance(values: Sequence[float], overlap: float = 0.0, resolution: float = 0.0) -> float:
    """Return the two-sided p-value of Student's t-test for a mean of zero."""
    from scipy.special import stdtr

    error, mean = _error(values, overlap, resolution), statistics.fmean(values)
    if not error:
        return float(not mean)
    return float(2 * stdtr(len(values) - 1, -abs(mean / error)))


def bootstrap(values: Sequence[float], draws: int = 10_000, level: float = LEVEL) -> Interval:
    """Return the mean of many units with a bootstrap percentile interval.

    Args:
        values: One value for each unit, at least ten: with three, an interval with a nominal
            coverage of 95 % covers 73 %.
        draws: Number of resamples, which are the same in every call.
        level: Nominal coverage probability.

    Raises:
        UserError: There are too few values.
    """
    if len(values) < FEW:
        raise UserError(
            f"a bootstrap of {len(values)} units covers less than it claims: use at least {FEW}, "
            "or Student's interval"
        )
    import numpy as np

    own = np.asarray(values, dtype=np.float64)
    picks = np.random.default_rng(0).integers(len(own), size=(draws, len(own)))
    low, high = np.quantile(own[picks].mean(1), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(own.mean()), float(low), float(high))


def _differences(first: Sequence[float], second: Sequence[float] | None) -> list[float]:
    if second is None:
        return list(first)
    if len(first) != len(second):
        raise UserError(
            f"pairs need equal numbers of scores: there are {len(first)} and {len(second)}"
        )
    return [a - b for a, b in zip(first, second, strict=True)]


def _error(values: Sequence[float], overlap: float, resolution: float = 0.0) -> float:
    """Return the standard error of the mean of differences."""
    rounded = resolution / math.sqrt(6)  # two numbers, each with a uniform rounding error
    return max(statistics.stdev(values), rounded) * math.sqrt(1 / len(values) + overlap)
