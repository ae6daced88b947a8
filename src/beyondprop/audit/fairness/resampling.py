"""How sure differences between groups are: drawn samples, and drawn groups.

All figures of a group are made of sums over its people. So people are written as rows of a table,
and each draw is a product with it; the figures agree with fairlearn's, which takes a thousand times
as long.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from beyondprop.audit.fairness.decisions import Decisions
from beyondprop.audit.fairness.figures import (
    ACCURACY,
    BINS,
    CALIBRATION,
    ODDS,
    PARITY,
    RATES,
    RATIO,
    places,
)

Array = NDArray[np.float64]
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

    @property
    def excludes_zero(self) -> bool:
        """Whether all of it lies on one side of zero."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Chance:
    """What a difference would be if groups were drawn.

    Attributes:
        limit: 95% of draws are less unequal.
        p: Of no two groups differing: share of draws in which no pair of groups differs less, in
            units of its error, than the pair that does most.
    """

    limit: float
    p: float


def rows_of(decisions: Decisions, bins: int = BINS) -> Array:
    """Return ``(n, 4 + bins)``: whether one is rightly selected, wrongly selected, wrongly not,
    rightly not; and in the bin of one's probability this less the truth.
    """
    truth, selected = decisions.truth, decisions.selected
    kinds = [truth & selected, ~truth & selected, truth & ~selected, ~truth & ~selected]
    rows = np.zeros((len(truth), len(kinds) + bins))
    rows[:, : len(kinds)] = np.stack(kinds, axis=1)
    place = len(kinds) + places(decisions.probability, bins)
    rows[np.arange(len(rows)), place] = decisions.probability - truth
    return rows


def rates(sums: Array) -> dict[str, Array]:
    """Return figures of groups, ``(...)``, of the sums of their rows, ``(..., 4 + bins)``.

    A rate of nobody is NaN.
    """
    right, wrong, missed, spared = np.moveaxis(sums[..., :4], -1, 0)
    whole = right + wrong + missed + spared
    return {
        "selection_rate": _share(right + wrong, whole),
        "accuracy": _share(right + spared, whole),
        "true_positive_rate": _share(right, right + missed),
        "false_positive_rate": _share(wrong, wrong + spared),
        "calibration_error": _share(np.abs(sums[..., 4:]).sum(-1), whole),
    }


def spreads(sums: Array) -> dict[str, Array]:
    """Return differences between groups, ``(...)``, of their sums, ``(..., groups, 4 + bins)``.

    See `figures.differences`; NaN where fewer than two groups have such a figure.
    """
    found = rates(sums)
    selected = found["selection_rate"]
    true, false = found["true_positive_rate"], found["false_positive_rate"]
    both = np.isfinite(true) & np.isfinite(false)
    odds = [_spread(np.where(both, each, np.nan)) for each in (true, false)]
    return {
        PARITY: _spread(selected),
        RATIO: _share(selected.min(-1), selected.max(-1)),
        ODDS: np.maximum(*odds),
        ACCURACY: _spread(found["accuracy"]),
        CALIBRATION: _spread(found["calibration_error"]),
    }


def drawn_sums(
    rows: Array, group: NDArray[np.int64], groups: int, draws: int, generator: Generator
) -> Iterator[Array]:
    """Yield ``(groups, columns)``, the sums of as many people of each group, drawn with repetition
    from the group: a bootstrap in which groups keep their sizes.
    """
    members = [rows[group == number] for number in range(groups)]
    for _ in range(draws):
        yield np.stack([_counts(len(each), generator) @ each for each in members])


def chance_sums(
    rows: Array,
    group: NDArray[np.int64],
    groups: int,
    truth: NDArray[np.bool_] | None,
    draws: int,
    generator: Generator,
) -> Iterator[Array]:
    """Yield ``(groups, columns)``, the sums of groups of the same sizes, drawn from all people.

    Args:
        rows: Of all people.
        group: Of each.
        groups: How many.
        truth: With it as many people of each group are in the favourable class as are.
        draws: How many.
        generator: Draws.
    """
    marks = np.eye(groups)[group].T  # (groups, n)
    everybody = np.ones(len(rows), dtype=bool)
    strata = [everybody] if truth is None else [truth, ~truth]
    parts = [(marks[:, part], rows[part]) for part in strata]
    for _ in range(draws):
        made = np.zeros((groups, rows.shape[1]))
        for own, people in parts:
            made += own @ people[generator.permutation(len(people))]
        yield made


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

    def apart(*names: str) -> Interval | None:
        pairs = [(_pairs(own[name]), _pairs(drawn[name])) for name in names]
        values, each = (np.concatenate(part, axis=-1) for part in zip(*pairs, strict=True))
        return largest(values, each)

    made = {
        PARITY: apart("selection_rate"),
        RATIO: _of_ratio(found, sums),
        ODDS: apart("true_positive_rate", "false_positive_rate"),
        ACCURACY: apart("accuracy"),
        CALIBRATION: apart("calibration_error"),
    }
    each = [
        {name: percentiles(drawn[name][:, number]) for name in RATES} for number in range(groups)
    ]
    return made, each


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


def sums_of(rows: Array, group: NDArray[np.int64], groups: int) -> Array:
    """Return the sums of the rows of each group, ``(groups, columns)``."""
    return np.stack([rows[group == number].sum(0) for number in range(groups)])


def chance(
    decisions: Decisions, draws: int = 1000, seed: int = 0, bins: int = BINS
) -> dict[str, Chance | None]:
    """Return what the differences would be if it didn't matter in which group one is.

    Groups are drawn from all people, in the same sizes; for equalised odds among those who are
    truly in the favourable class, and among those who aren't (Good, "Permutation tests", 2000). A
    difference between groups is never zero by chance, and the more groups and the smaller, the
    larger: a difference below this limit says nothing.

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


def surprises(sums: Array) -> dict[str, Array]:
    """Return the largest difference of a pair of groups in units of its error, ``(...)``.

    The error of two shares of m and n people is ``√(p (1 - p) (1/m + 1/n))`` with p of all people.
    So two large groups that differ are not drowned by small ones, which differ by chance.

    Args:
        sums: Of groups, ``(..., groups, 4 + bins)``.
    """
    found = rates(sums)
    right, wrong, missed, spared = np.moveaxis(sums[..., :4], -1, 0)
    people = right + wrong + missed + spared
    selected = _surprise(found["selection_rate"], people)
    odds = (
        _surprise(found["true_positive_rate"], right + missed),
        _surprise(found["false_positive_rate"], wrong + spared),
    )
    return {
        PARITY: selected,
        RATIO: selected,
        ODDS: np.maximum(*odds),
        ACCURACY: _surprise(found["accuracy"], people),
        CALIBRATION: _surprise(found["calibration_error"], people),
    }


def _of_ratio(found: Array, sums: Array) -> Interval | None:
    """Return the interval of the smallest selection rate through the largest, by logarithms.

    Half a person more is selected in each group, so that a group of which nobody is has one too.
    """

    def logarithms(each: Array) -> Array:
        made: Array = np.log((each[..., :2].sum(-1) + 0.5) / (each[..., :4].sum(-1) + 0.5))
        return made

    if not found[..., :2].any():
        return None
    apart = largest(_pairs(logarithms(found)), _pairs(logarithms(sums)), high=np.inf)
    if apart is None:
        return None
    nobody = not found[..., :2].sum(-1).all()
    return Interval(0.0 if nobody else float(np.exp(-apart.high)), float(np.exp(-apart.low)))


def _pairs(each: Array) -> Array:
    """Return the differences of all pairs over the last axis."""
    one, other = np.triu_indices(each.shape[-1], 1)
    made: Array = each[..., one] - each[..., other]
    return made


def _surprise(share: Array, people: Array) -> Array:
    """Return the largest difference of two shares ``(..., groups)`` in units of its error."""
    whole = np.where(people > 0, share, 0.0) * people
    pooled = whole.sum(-1, keepdims=True) / np.maximum(people.sum(-1, keepdims=True), 1)
    one, other = np.triu_indices(share.shape[-1], 1)
    each = 1 / np.maximum(people, 1)
    error = np.sqrt(pooled * (1 - pooled) * (each[..., one] + each[..., other]))
    apart = np.nan_to_num(np.abs(_pairs(share)))
    made: Array = np.divide(apart, error, out=np.zeros(apart.shape), where=error > 0).max(-1)
    return made


def _counts(size: int, generator: Generator) -> Array:
    """Return how often each of so many is drawn, ``(size,)``, in as many draws."""
    return np.bincount(generator.integers(size, size=size), minlength=size).astype(np.float64)


def _share(part: Array, whole: Array) -> Array:
    """Return the quotient, NaN of nothing."""
    made: Array = np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0)
    return made


def _spread(each: Array) -> Array:
    """Return the largest less the smallest over the last axis, of those that are numbers."""
    known = np.isfinite(each)
    high = np.where(known, each, -np.inf).max(-1)
    low = np.where(known, each, np.inf).min(-1)
    apart: Array = np.where(known.sum(-1) > 1, high - low, np.nan)
    return apart
