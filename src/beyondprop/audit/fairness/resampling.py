"""How sure differences between groups are: drawn samples, and drawn groups."""

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
    """Where a figure may lie.

    Attributes:
        low: The interval's lower end.
        high: Its upper end.
    """

    low: float
    high: float


@dataclass(frozen=True)
class Chance:
    """What a difference would be if groups were drawn.

    Attributes:
        limit: 95% of draws are less unequal.
        p: p-value of no two groups differing: share of draws whose most different pair differs at
            least as much, in units of its error, as the most different pair of the data.
    """

    limit: float
    p: float


def intervals(
    decisions: Decisions, draws: int = 1000, seed: int = 0, bins: int = BINS
) -> tuple[dict[str, Interval | None], list[dict[str, Interval | None]]]:
    """Return 95% intervals of the differences, and of each group's rates, over test samples.

    People are drawn within their groups. A rate's interval is that of percentiles. A difference is
    the largest of several, and the draws of such a one lie above it: where groups are alike, no
    interval of percentiles holds the true zero. So all pairs of groups get intervals that hold at
    once, by the largest of the studentised deviations of a draw (Beran, "Balanced simultaneous
    confidence sets", 1988), and the difference lies between the largest of the lower ends and the
    largest of the upper ones. It is zero at the lower end where no pair is told apart.

    Args:
        decisions: Of the groups that count.
        draws: How many.
        seed: Of the draws.
        bins: Of probabilities.
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
    """Return what the differences would be if it didn't matter in which group one is.

    Groups are drawn from all people, in the same sizes; for equalised odds among those who are
    truly in the favourable class, and among those who aren't (Good, "Permutation tests", 2000). The
    more groups there are and the smaller they are, the larger is the difference that they have by
    chance alone.

    Args:
        decisions: Of the groups that count.
        draws: How many.
        seed: Of the draws.
        bins: Of probabilities.
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
        tail = 1 - LEVEL if name == RATIO else LEVEL  # a ratio is the less equal the smaller it is
        beyond = int((surprises(drawn)[name] >= own[name] - 1e-9).sum())
        made[name] = Chance(float(np.quantile(known, tail)), (1 + beyond) / (1 + draws))
    return made


def largest(values: Array, drawn: Array, high: float = 1.0) -> Interval | None:
    """Return the interval of the largest size of several differences.

    Args:
        values: What was found, ``(differences,)``; those that are none are left out.
        drawn: The same of each draw, ``(draws, differences)``.
        high: The most it can be.
    """
    known = np.isfinite(values) & np.isfinite(drawn).any(0)
    if not known.any():
        return None
    values, drawn = values[known], drawn[:, known]
    drawn = np.where(np.isfinite(drawn), drawn, values)  # of a draw without anybody to count
    error = drawn.std(0)
    off = np.divide(np.abs(drawn - values), error, out=np.zeros(drawn.shape), where=error > 0)
    reach = np.quantile(off.max(1), LEVEL) * error
    sizes = np.abs(values)
    return Interval(max(0.0, float((sizes - reach).max())), min(high, float((sizes + reach).max())))


def percentiles(drawn: Array) -> Interval | None:
    """Return the interval that holds the middle 95% of draws; those that are none are left out."""
    known = drawn[np.isfinite(drawn)]
    if not len(known):
        return None
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))


def _of_ratio(found: Array, sums: Array) -> Interval | None:
    """Return the interval of the smallest selection rate through the largest, by logarithms.

    Half a person more is selected in each group, so that a group of which nobody is has one too.
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
