"""Figures of groups as functions of sums over people.

People are the rows of a table, and each draw of people or of groups is a matrix product with it.
The figures equal those of fairlearn, which is too slow to call for every draw.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from beyondprop.audit.calibration import equal_width
from beyondprop.audit.fairness.decisions import Decisions
from beyondprop.audit.fairness.figures import (
    ACCURACY,
    BINS,
    CALIBRATION,
    ODDS,
    PARITY,
    RATIO,
)

Array = NDArray[np.float64]


def rows_of(decisions: Decisions, bins: int = BINS) -> Array:
    """Return one row for each person, ``(n, 4 + bins)``: four 0/1 columns for true positive, false
    positive, false negative and true negative; then, in the column of the person's probability bin,
    the probability minus the truth.
    """
    truth, selected = decisions.truth, decisions.selected
    kinds = [truth & selected, ~truth & selected, truth & ~selected, ~truth & ~selected]
    rows = np.zeros((len(truth), len(kinds) + bins))
    rows[:, : len(kinds)] = np.stack(kinds, axis=1)
    place = len(kinds) + equal_width(decisions.probability, bins)
    rows[np.arange(len(rows)), place] = decisions.probability - truth
    return rows


def sums_of(rows: Array, group: NDArray[np.int64], groups: int) -> Array:
    """Return the sums of the rows of each group, ``(groups, columns)``."""
    return np.stack([rows[group == number].sum(0) for number in range(groups)])


def drawn_sums(
    rows: Array, group: NDArray[np.int64], groups: int, draws: int, generator: Generator
) -> Iterator[Array]:
    """Yield ``(groups, columns)``, the sums of a resample of each group, drawn with replacement: a
    bootstrap in which groups keep their sizes.
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
        rows: Rows of all people.
        group: Group number of each person.
        groups: Number of groups.
        truth: If given, each group keeps its number of people in the favourable class.
        draws: Number of draws.
        generator: Random generator for the draws.
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


def rates(sums: Array) -> dict[str, Array]:
    """Return the figures of groups, ``(...)``, from the sums of their rows, ``(..., 4 + bins)``.

    A rate over no people is NaN.
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


def odds(found: Mapping[str, Array]) -> tuple[Array, Array]:
    """Return the true and false positive rates, ``(...)``; NaN for groups that lack one of them."""
    true, false = found["true_positive_rate"], found["false_positive_rate"]
    both = np.isfinite(true) & np.isfinite(false)
    return np.where(both, true, np.nan), np.where(both, false, np.nan)


def spreads(sums: Array) -> dict[str, Array]:
    """Return the differences between groups, ``(...)``, from their sums, ``(..., groups, 4 +
    bins)``.

    See `figures.differences`; NaN if fewer than two groups have the figure.
    """
    found = rates(sums)
    selected = found["selection_rate"]
    return {
        PARITY: _spread(selected),
        RATIO: _share(selected.min(-1), selected.max(-1)),
        ODDS: np.maximum(*map(_spread, odds(found))),
        ACCURACY: _spread(found["accuracy"]),
        CALIBRATION: _spread(found["calibration_error"]),
    }


def surprises(sums: Array) -> dict[str, Array]:
    """Return the largest difference of any pair of groups in units of its standard error,
    ``(...)``.

    The standard error of the difference between two shares of m and n people is ``√(p (1 - p) (1/m
    + 1/n))``, where p is the share of all people. With this unit, small groups, which differ by
    chance, do not hide a difference between two large ones.

    Args:
        sums: Sums of groups, ``(..., groups, 4 + bins)``.
    """
    found = rates(sums)
    right, wrong, missed, spared = np.moveaxis(sums[..., :4], -1, 0)
    people = right + wrong + missed + spared
    selected = _surprise(found["selection_rate"], people)
    true, false = odds(found)
    return {
        PARITY: selected,
        RATIO: selected,
        ODDS: np.maximum(_surprise(true, right + missed), _surprise(false, wrong + spared)),
        ACCURACY: _surprise(found["accuracy"], people),
        CALIBRATION: _surprise(found["calibration_error"], people),
    }


def _surprise(share: Array, people: Array) -> Array:
    """Return the largest difference of two shares ``(..., groups)`` in units of its standard
    error.
    """
    whole = np.where(people > 0, share, 0.0) * people
    pooled = whole.sum(-1, keepdims=True) / np.maximum(people.sum(-1, keepdims=True), 1)
    one, other = np.triu_indices(share.shape[-1], 1)
    each = 1 / np.maximum(people, 1)
    error = np.sqrt(pooled * (1 - pooled) * (each[..., one] + each[..., other]))
    apart = np.nan_to_num(np.abs(pairs(share)))
    made: Array = np.divide(apart, error, out=np.zeros(apart.shape), where=error > 0).max(-1)
    return made


def pairs(each: Array) -> Array:
    """Return the differences of all pairs along the last axis."""
    one, other = np.triu_indices(each.shape[-1], 1)
    made: Array = each[..., one] - each[..., other]
    return made


def _counts(size: int, generator: Generator) -> Array:
    """Return how often each index is drawn, ``(size,)``, in `size` draws with replacement."""
    return np.bincount(generator.integers(size, size=size), minlength=size).astype(np.float64)


def _share(part: Array, whole: Array) -> Array:
    """Return the quotient; NaN if the denominator is zero."""
    made: Array = np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0)
    return made


def _spread(each: Array) -> Array:
    """Return the largest minus the smallest value along the last axis, without NaN values."""
    known = np.isfinite(each)
    high = np.where(known, each, -np.inf).max(-1)
    low = np.where(known, each, np.inf).min(-1)
    apart: Array = np.where(known.sum(-1) > 1, high - low, np.nan)
    return apart
