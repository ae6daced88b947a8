"""The table of the tuning: the score of each rule at each learning rate."""

from __future__ import annotations

from dataclasses import dataclass

from beyondprop.measure.base import ABSENT
from beyondprop.report.records import Comparison, Tuning
from beyondprop.report.text import (
    ScoreFormat,
    label,
    listing,
    plural,
)


@dataclass(frozen=True)
class Cell:
    """One trial of the tuning."""

    text: str
    chosen: bool = False
    epochs: str = ""


def rates(comparison: Comparison) -> list[float]:
    """Return the learning rates that were tried, ascending."""
    trials = comparison.tuning.trials
    return sorted({trial.learning_rate for trial in trials if trial.learning_rate is not None})


def lines(comparison: Comparison) -> list[tuple[str, list[Cell]]]:
    """Return, for each rule and optimizer, the scores of the longest trials by learning rate."""
    scores, tuning = ScoreFormat.of(comparison.task), comparison.tuning
    searched = dict.fromkeys((trial.rule, trial.optimizer) for trial in tuning.trials)
    return [
        (
            f"{label(rule)} {optimizer}".rstrip(),
            [_cell(tuning, scores, rule, optimizer, value) for value in rates(comparison)],
        )
        for rule, optimizer in searched
    ]


def _cell(tuning: Tuning, scores: ScoreFormat, rule: str, optimizer: str, value: float) -> Cell:
    tried = (rule, optimizer, value)
    trials = [t for t in tuning.trials if (t.rule, t.optimizer, t.learning_rate) == tried]
    if not trials:
        return Cell(ABSENT)
    longest = max(trials, key=lambda trial: trial.epochs)
    score = longest.score
    text = scores.full(score) if score is not None else longest.status or ABSENT
    own = tuning.searches.get(rule)
    chosen = tuning.chosen.get(rule) == value and (own is None or own.optimizer == optimizer)
    many = len(tuning.epochs) > 1
    return Cell(text, chosen, plural(longest.epochs, "epoch") if many else "")


def edge(comparison: Comparison) -> str:
    """Return a warning about rules whose chosen learning rate is the smallest or largest tried, or
    was not tried between two others; empty if there are none."""
    if comparison.tuning.searches:
        found = [label(rule) for rule, own in comparison.tuning.searches.items() if own.edge]
        if not found:
            return ""
        return (
            f"The budget ended before the rate chosen for {listing(found)} was tried between two "
            "others in trials of the same length: a larger budget may find a better one."
        )
    tried = rates(comparison)
    chosen = comparison.tuning.chosen
    rules = [label(rule) for rule, value in chosen.items() if value in (tried[:1] + tried[-1:])]
    if len(tried) < 2 or not rules:
        return ""
    lies = f"The rate chosen for {listing(rules)} lies at the edge of those tried"
    return f"{lies}: a wider range may contain a better one."


def compute(comparison: Comparison) -> str:
    """Return the part of the budget that each rule's search used, in words."""
    budget, searches = comparison.tuning.budget, comparison.tuning.searches
    if not searches or budget is None:
        return ""
    used = [
        f"{label(rule)} {own.compute:.1f} in {plural(own.trials, 'trial')}"
        for rule, own in searches.items()
    ]
    return (
        f"The search budget is {budget:g} of backprop's longest trials, of which the rules used: "
        f"{listing(used)}. A step counts by its floating-point operations."
    )
