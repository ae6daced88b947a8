"""The table of the tuning: what each rule reached with each learning rate."""

from __future__ import annotations

from dataclasses import dataclass

from beyondprop.measure.base import ABSENT
from beyondprop.report.records import Comparison, Tuning
from beyondprop.report.text import (
    ScoreFormat,
    label,
    listing,
)


@dataclass(frozen=True)
class Cell:
    """One trial of the tuning."""

    text: str
    chosen: bool = False


def rates(comparison: Comparison) -> list[float]:
    """Return the learning rates that were tried, ascending."""
    trials = comparison.tuning.trials
    return sorted({trial.learning_rate for trial in trials if trial.learning_rate is not None})


def lines(comparison: Comparison) -> list[tuple[str, list[Cell]]]:
    """For each rule the validation score at each learning rate, the chosen one marked."""
    scores, tuning = ScoreFormat.of(comparison.task), comparison.tuning
    rules = dict.fromkeys(trial.rule for trial in tuning.trials)
    return [
        (label(rule), [_cell(tuning, scores, rule, value) for value in rates(comparison)])
        for rule in rules
    ]


def _cell(tuning: Tuning, scores: ScoreFormat, rule: str, value: float) -> Cell:
    for trial in tuning.trials:
        if trial.rule == rule and trial.learning_rate == value:
            text = scores.full(trial.score) if trial.score is not None else trial.status or ABSENT
            return Cell(text, tuning.chosen.get(rule) == value)
    return Cell(ABSENT)


def edge(comparison: Comparison) -> str:
    """Return a warning about rules whose chosen learning rate is the least or greatest tried, if
    any.
    """
    tried = rates(comparison)
    chosen = comparison.tuning.chosen
    rules = [label(rule) for rule, value in chosen.items() if value in (tried[:1] + tried[-1:])]
    if len(tried) < 2 or not rules:
        return ""
    lies = f"The rate chosen for {listing(rules)} lies at the edge of those tried"
    return f"{lies}: a wider range may serve better."
