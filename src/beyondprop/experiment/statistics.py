"""What the scores of several seeds say: intervals, ratios and which differences are real.

All scores are paired: those at one place come from one seed, which drew the same weights, split
and order of the data for every rule.
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
"""Units from which on a bootstrap's interval covers what it says."""


@dataclass(frozen=True)
class Interval:
    """A number and where it may lie.

    Attributes:
        value: The estimate.
        low: The interval's lower end.
        high: Its upper end.
    """

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether all of it lies on one side of zero."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Difference:
    """How two rules differ over the same seeds.

    Attributes:
        first: A rule.
        second: Another.
        interval: Of the first's score less the second's.
        p: Of no difference, after Holm, among all pairs of a table.
    """

    first: str
    second: str
    interval: Interval
    p: float

    @property
    def real(self) -> bool:
        """Whether it is told from none at this level, all pairs of the table considered."""
        return self.p < 1 - LEVEL


def quantile(freedom: int, level: float = LEVEL) -> float:
    """Return how many standard errors Student's two-sided interval reaches."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + level) / 2))


def paired(
    first: Sequence[float],
    second: Sequence[float] | None = None,
    overlap: float = 0.0,
    resolution: float = 0.0,
    level: float = LEVEL,
) -> Interval | None:
    """Return the mean of the differences of pairs with Student's interval, n - 1 degrees free.

    Args:
        first: Scores, one a seed.
        second: Those that are subtracted; None for the mean of the first alone.
        overlap: For scores on repeated random splits of one data set the number of test samples
            over that of training samples: they overlap, and the variance of their mean is
            ``1/n + overlap`` of that of one (Nadeau and Bengio 2003, equation 9).
        resolution: The step by which scores differ at least, 1/n for an accuracy of n samples. Few
            scores may agree by rounding alone; the variance is at least that of rounding both.
        level: How often it covers the truth.

    Returns:
        None of fewer than two pairs.

    Raises:
        UserError: There are not as many of both.
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
        gain: The numerators, one a seed: a rule's score less the lower control's.
        whole: The denominators: backprop's less the lower control's.
        overlap: As of `paired`.
        level: How often it covers the truth.

    Returns:
        None of fewer than two pairs, and where the interval of the denominator's mean holds zero:
        then no bounded set of ratios agrees with the scores (Fieller 1954).

    Raises:
        UserError: There are not as many of both.
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
    """Return p-values such that the chance of any false difference is kept (Holm 1979).

    Args:
        chances: The p-value of each comparison by itself.
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
    """Return how pairs of rules differ, with Holm's p-values over them.

    Args:
        scores: For each rule one score a seed, in one order of seeds.
        overlap: As of `paired`.
        resolution: As of `paired`.
        pairs: Those that are asked for; by default all.
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
    """Return the two-sided p-value of Student's test that the mean of the values is zero."""
    from scipy.special import stdtr

    error, mean = _error(values, overlap, resolution), statistics.fmean(values)
    if not error:
        return float(not mean)
    return float(2 * stdtr(len(values) - 1, -abs(mean / error)))


def bootstrap(values: Sequence[float], draws: int = 10_000, level: float = LEVEL) -> Interval:
    """Return the mean of many units with a percentile interval of resampled means.

    Args:
        values: One a unit; ten at least, as of three an interval said to cover 95 % covers 73 %.
        draws: How often they are resampled, always alike.
        level: How often it covers the truth.

    Raises:
        UserError: There are too few.
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
        raise UserError(f"pairs need as many scores: there are {len(first)} and {len(second)}")
    return [a - b for a, b in zip(first, second, strict=True)]


def _error(values: Sequence[float], overlap: float, resolution: float = 0.0) -> float:
    """Return the standard error of the mean of differences."""
    rounded = resolution / math.sqrt(6)  # two numbers, each rounded evenly within a step
    return max(statistics.stdev(values), rounded) * math.sqrt(1 / len(values) + overlap)
