"""Significant differences in words, between rules and between other training methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from beyondprop.experiment.statistics import Difference, differences
from beyondprop.report.records import CONTROLS, Comparison, TaskFacts
from beyondprop.report.text import ScoreFormat, label, listing, plural

SHOWN = 6
"""Most pairs that are named one by one."""

FEW = 4
"""Seeds below which a table warns that only large differences can be significant."""

ABOVE, BELOW, ALIKE, UNKNOWN = (
    *("scores above", "scores below"),
    "does not differ significantly from",
    "is not compared with",
)
"""Verdicts as parts of sentences."""

ONE_SEED = "one seed supports no comparison"
"""Why no difference is tested with a single seed."""


def apart(pair: Difference) -> bool:
    """Whether a pair differs significantly and its confidence interval excludes zero."""
    return pair.real and pair.interval.excludes_zero


def verdict(pair: Difference | None) -> str:
    """Return how the first of two compares with the second, by the test over seeds."""
    if pair is None:
        return UNKNOWN
    if not apart(pair):
        return ALIKE
    return ABOVE if pair.interval.value > 0 else BELOW


def resolution(task: TaskFacts) -> float:
    """Return the smallest possible difference of scores: one test sample, for an accuracy."""
    size = task.test if ScoreFormat.of(task).percent else None
    return 1 / size if size else 0.0


def told_apart(comparison: Comparison) -> list[str]:
    """Return sentences on which rules differ significantly, by Student's t-test paired by seed.

    The list is empty for one seed, one rule, or single runs.
    """
    found = of_pairs(comparison)
    if not found:
        return []
    real = [each for each in found if each.real]
    others = [each for each in found if not each.real]
    by = tested(len(found))
    scores = ScoreFormat.of(comparison.task)
    told = [f"Significant differences ({by}): {named(real, scores, over) or 'none'}."]
    if others:
        told.append(f"No significant difference: {named(others, scores, alike)}.")
    return [*told, *unpaired(comparison), *few_seeds(len(comparison.seeds))]


def of_pairs(comparison: Comparison) -> list[Difference]:
    """Return the differences between all pairs of rules that have a score for each seed.

    The list is empty for one seed, one rule, or single runs.
    """
    scores = paired_scores(comparison)
    if len(scores) < 2 or not comparison.controlled:
        return []
    return differences(scores, resolution=resolution(comparison.task))


def unpaired(comparison: Comparison) -> list[str]:
    """Return a sentence on the rules that are in no pair, if any; with one seed there are none."""
    if len(comparison.seeds) < 2:
        return []
    scores = paired_scores(comparison)
    left = [label(row.rule) for row in comparison.rows if row.rule not in scores]
    return [uncompared(left)] if left else []


def tested(pairs: int) -> str:
    """Return how differences are tested, for use in parentheses."""
    return f"t-tests paired by seed, 95%, after Holm's correction for {plural(pairs, 'pair')}"


def uncompared(left: Sequence[str]) -> str:
    """Return a sentence on the rules that are in no pair."""
    return f"Not compared, because the score of a seed is missing: {listing(left)}."


def few_seeds(seeds: int) -> list[str]:
    """Return a warning if there are few seeds."""
    if seeds == 1:
        return [
            "One seed gives no interval, so no difference can be tested. Add seeds with --resume."
        ]
    few = f"With {plural(seeds, 'seed')}, only large differences can be significant."
    return [few] if seeds < FEW else []


def paired_scores(comparison: Comparison) -> dict[str, list[float]]:
    """Return the scores of the rules that have one for each seed, in the same order.

    A diverged run counts as chance, if the chance score is known.
    """
    found = {}
    for row in comparison.rows:
        runs = sorted((r for r in comparison.runs if r.rule == row.rule), key=lambda r: r.seed)
        counted = [comparison.chance if r.status == "diverged" else r.score for r in runs]
        scores = [score for score in counted if score is not None]
        if len(scores) == len(comparison.seeds) > 1:
            found[row.rule] = scores
    return found


def named(
    found: Sequence[Difference],
    scores: ScoreFormat,
    one: Callable[[str, str, str], str],
) -> str:
    """Return differences one by one: first those between controls, on which the others depend, then
    the largest.

    Args:
        found: The differences.
        scores: The format of scores.
        one: Returns a difference in words from the better rule, the other rule, and the amount.
    """
    ordered = sorted(found, key=lambda each: (not _of_controls(each), -abs(each.interval.value)))
    told = [one(*_sides(each), _by(each, scores)) for each in ordered[:SHOWN]]
    more = len(found) - SHOWN
    return listing([*told, *([f"{more} more"] if more > 0 else [])])


def _of_controls(pair: Difference) -> bool:
    return {pair.first, pair.second} <= set(CONTROLS)


def _sides(pair: Difference) -> tuple[str, str]:
    first, second = label(pair.first), label(pair.second)
    return (second, first) if pair.interval.value < 0 else (first, second)


def _by(pair: Difference, scores: ScoreFormat) -> str:
    half = (pair.interval.high - pair.interval.low) / 2
    points = " points" * scores.percent
    return f"{scores.bare(abs(pair.interval.value))} ± {scores.bare(half)}{points}"


def over(first: str, second: str, by: str) -> str:
    """Return in words that the first is better than the second, and by how much."""
    return f"{first} over {second} (by {by})"


def alike(first: str, second: str, by: str) -> str:
    """Return a pair without a significant difference in words, which rank neither."""
    return f"{first} and {second} ({by})"
