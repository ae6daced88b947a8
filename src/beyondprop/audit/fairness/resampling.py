"""The uncertainty of differences between groups: bootstrap and permutation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from beyondprop.audit.fairness.decisions import Decisions
from beyondprop.audit.fairness.figures import (
    ACCURACY,
    BINS,
    CALIBRATION,
    ODDS,
    PARITY,
    RATES,
    RATIO,
)
from beyondprop.audit.fairness.sums import (
    Array,
    chance_sums,
    drawn_sums,
    odds,
    pairs,
    rates,
    rows_of,
    spreads,
    sums_of,
    surprises,
)

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """The interval of a figure.

    Attributes:
        low: Lower end.
        high: Upper end.
    """

    low: float
    high: float


@dataclass(frozen=True)
class Chance:
    """The distribution of a difference under random assignment to groups.

    Attributes:
        limit: The value that 95% of the draws do not exceed in inequality.
        p: p-value of the hypothesis that no two groups differ: the share of draws whose most
            different pair differs at least as much, in units of its standard error, as the most
            different pair in the data.
    """

    limit: float
    p: float


def intervals(
    decisions: Decisions, draws: int = 1000, seed: int = 0, bins: int = BINS
) -> tuple[dict[str, Interval | None], list[dict[str, Interval | None]]]:
    """Return 95% intervals of the differences, and of each group's rates, over test samples.

    People are resampled within their groups. The interval of a rate consists of percentiles. A
    difference is the largest of several, so its draws are biased upwards: where groups are alike, a
    percentile interval never contains the true value, zero. Instead, all pairs of groups get
    simultaneous intervals from the largest studentised deviation of each draw (Beran, "Balanced
    simultaneous confidence sets", 1988). The interval of the difference extends from the largest of
    the lower ends to the largest of the upper ends. Its lower end is zero if no pair differs
    significantly.

    Args:
        decisions: Decisions for the groups that are large enough.
        draws: Number of draws.
        seed: Seed of the draws.
        bins: Number of probability bins.
    """
    rows, groups = rows_of(decisions, bins), len(decisions.names)
    found = sums_of(rows, decisions.group, groups)
    generator = np.random.default_rng(seed)
    sums = np.stack([*drawn_sums(rows, decisions.group, groups, draws, generator)])
    own, drawn = rates(found), rates(sums)  # (groups,), (draws, groups)

    def apart(name: str) -> Interval | None:
        return largest(pairs(own[name]), pairs(drawn[name]))

    both = [np.concatenate([*map(pairs, odds(each))], axis=-1) for each in (own, drawn)]

    made = {
        PARITY: apart("selection_rate"),
        RATIO: _of_ratio(found, sums),
        ODDS: largest(both[0], both[1]),
        ACCURACY: apart("accuracy"),
        CALIBRATION: apart("calibration_error"),
    }
    each = [
        {name: percentiles(drawn[name][:, number]) for name in RATES} for number in range(groups)
    ]
    return made, each


def chance(
    decisions: Decisions, draws: int = 1000, seed: int = 0, bins: int = BINS
) -> dict[str, Chance | None]:
    """Return the distribution of the differences if membership of a group made no difference.

    Groups of the same sizes are drawn from all people; for equalised odds separately from those who
    are truly in the favourable class and those who are not (Good, "Permutation tests", 2000). The
    more groups there are and the smaller they are, the larger is the difference due to chance
    alone.

    Args:
        decisions: Decisions for the groups that are large enough.
        draws: Number of draws.
        seed: Seed of the draws.
        bins: Number of probability bins.
    """
    rows, group, groups = rows_of(decisions, bins), decisions.group, len(decisions.names)
    found = sums_of(rows, group, groups)
    generator = np.random.default_rng(seed)
    free, within = (
        np.stack([*chance_sums(rows, group, groups, truth, draws, generator)])
        for truth in (None, decisions.truth)
    )
    apart, own = spreads(found), surprises(found)
    made: dict[str, Chance | None] = {}
    for name, value in apart.items():
        drawn = within if name == ODDS else free
        known = spreads(drawn)[name]
        known = known[np.isfinite(known)]
        if not np.isfinite(value) or not len(known):
            made[name] = None
            continue
        tail = 1 - LEVEL if name == RATIO else LEVEL  # a smaller ratio is less equal
        beyond = int((surprises(drawn)[name] >= own[name] - 1e-9).sum())
        made[name] = Chance(float(np.quantile(known, tail)), (1 + beyond) / (1 + draws))
    return made


def largest(values: Array, drawn: Array, high: float = 1.0) -> Interval | None:
    """Return the interval of the largest absolute value of several differences.

    Args:
        values: Differences in the data, ``(differences,)``; values that are not finite are left
            out.
        drawn: Differences in each draw, ``(draws, differences)``.
        high: Upper bound of the interval.
    """
    known = np.isfinite(values) & np.isfinite(drawn).any(0)
    if not known.any():
        return None
    values, drawn = values[known], drawn[:, known]
    drawn = np.where(np.isfinite(drawn), drawn, values)  # a draw may contain nobody to count
    error = drawn.std(0)
    off = np.divide(np.abs(drawn - values), error, out=np.zeros(drawn.shape), where=error > 0)
    reach = np.quantile(off.max(1), LEVEL) * error
    sizes = np.abs(values)
    return Interval(max(0.0, float((sizes - reach).max())), min(high, float((sizes + reach).max())))


def percentiles(drawn: Array) -> Interval | None:
    """Return the interval of the middle 95% of the draws; values that are not finite are left
    out.
    """
    known = drawn[np.isfinite(drawn)]
    if not len(known):
        return None
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))


def _of_ratio(found: Array, sums: Array) -> Interval | None:
    """Return the interval of the smallest selection rate divided by the largest, by logarithms.

    Half a person is added to those selected in each group, so that the logarithm exists for groups
    without selected people.
    """

    def logarithms(each: Array) -> Array:
        made: Array = np.log((each[..., :2].sum(-1) + 0.5) / (each[..., :4].sum(-1) + 0.5))
        return made

    if not found[..., :2].any():
        return None
    apart = largest(pairs(logarithms(found)), pairs(logarithms(sums)), high=np.inf)
    if apart is None:
        return None
    nobody = not found[..., :2].sum(-1).all()
    return Interval(0.0 if nobody else float(np.exp(-apart.high)), float(np.exp(-apart.low)))
