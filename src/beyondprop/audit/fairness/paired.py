"""Differences of treatment between two models, for the same people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from beyondprop.audit.fairness.decisions import Decisions
from beyondprop.audit.fairness.figures import BINS, RATES
from beyondprop.audit.fairness.resampling import LEVEL, Interval, percentiles
from beyondprop.audit.fairness.sums import drawn_sums, rates, rows_of, spreads, sums_of
from beyondprop.errors import UserError


@dataclass(frozen=True)
class Change:
    """The difference of a group's rate between two models.

    Attributes:
        group: Name of the group.
        rate: One of `figures.RATES`.
        difference: The first model's rate minus the second's.
        interval: 95% interval, by resampling the people of the group.
        p: p-value of no difference, after Holm's correction for all comparisons.
    """

    group: str
    rate: str
    difference: float
    interval: Interval | None
    p: float

    @property
    def real(self) -> bool:
        """Whether the difference is significant."""
        return self.p < 1 - LEVEL


def changes(
    one: Decisions, other: Decisions, draws: int = 1000, seed: int = 0, bins: int = BINS
) -> tuple[list[Change], dict[str, tuple[float, Interval | None]]]:
    """Return how each group's rates, and the differences between groups, differ between two models.

    A rate differs only because of people for whom the models decide differently. The number of
    these people on each side is tested with the binomial distribution (exact McNemar test, 1947).

    Args:
        one: A model's decisions, for the groups that are large enough.
        other: Another model's decisions, for the same people.
        draws: Number of draws of the paired, stratified bootstrap.
        seed: Seed of the draws.
        bins: Number of probability bins.

    Returns:
        A change for each group and each rate that the group has; and for each difference between
        groups (see `figures.differences`) the first model's value minus the second's.

    Raises:
        UserError: The people are not the same.
    """
    _check_same(one, other)
    groups, both = len(one.names), (rows_of(one, bins), rows_of(other, bins))
    rows = np.concatenate(both, axis=1)  # (n, 2 · columns): both models use the same draws
    found = sums_of(rows, one.group, groups)
    generator = np.random.default_rng(seed)
    sums = np.stack([*drawn_sums(rows, one.group, groups, draws, generator)])
    first, second = (spreads(each) for each in np.split(found, 2, axis=-1))
    drawn = [spreads(each) for each in np.split(sums, 2, axis=-1)]
    apart = {
        name: (
            float(first[name] - second[name]),
            percentiles(drawn[0][name] - drawn[1][name]),
        )
        for name in first
        if np.isfinite(first[name] - second[name])
    }
    return _of_groups(one, other, found, sums), apart


def holm(chances: Sequence[float]) -> list[float]:
    """Return p-values corrected for multiple comparisons (Holm 1979)."""
    made, floor = [0.0] * len(chances), 0.0
    for rank, place in enumerate(sorted(range(len(chances)), key=chances.__getitem__)):
        floor = max(floor, min(1.0, (len(chances) - rank) * chances[place]))
        made[place] = floor
    return made


def _of_groups(
    one: Decisions, other: Decisions, found: NDArray[np.float64], sums: NDArray[np.float64]
) -> list[Change]:
    own = [rates(each) for each in np.split(found, 2, axis=-1)]  # (groups,) each
    drawn = [rates(each) for each in np.split(sums, 2, axis=-1)]  # (draws, groups) each
    made = []
    for number, name in enumerate(one.names):
        members = one.group == number
        for rate in RATES:
            difference = float(own[0][rate][number] - own[1][rate][number])
            if not np.isfinite(difference):
                continue
            spread = drawn[0][rate][:, number] - drawn[1][rate][:, number]
            more, less = _otherwise(one, other, rate, members)
            made.append(Change(name, rate, difference, percentiles(spread), _exact(more, less)))
    adjusted = holm([each.p for each in made])
    return [replace(each, p=p) for each, p in zip(made, adjusted, strict=True)]


def _otherwise(
    one: Decisions, other: Decisions, rate: str, members: NDArray[np.bool_]
) -> tuple[int, int]:
    """Return the number of members that only the first model counts towards the rate, and the
    number that only the second counts.
    """
    counted: Mapping[str, NDArray[np.bool_]] = {
        "selection_rate": members,
        "accuracy": members,
        "true_positive_rate": members & one.truth,
        "false_positive_rate": members & ~one.truth,
    }
    first, second = one.selected, other.selected
    if rate == "accuracy":
        first, second = first == one.truth, second == one.truth
    people = counted[rate]
    return int((people & first & ~second).sum()), int((people & second & ~first).sum())


def _exact(more: int, less: int) -> float:
    from scipy.stats import binomtest

    return float(binomtest(more, more + less).pvalue) if more + less else 1.0


def _check_same(one: Decisions, other: Decisions) -> None:
    same = (
        one.names == other.names
        and np.array_equal(one.group, other.group)
        and np.array_equal(one.truth, other.truth)
    )
    if not same:
        raise UserError(
            "two models can only be compared on the same people: use one test split for both"
        )
