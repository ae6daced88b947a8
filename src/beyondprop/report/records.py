"""The parts of a comparison that a report uses.

Every number of a record may be null (a diverged run, a cost that was not measured), so every
number here may be None.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from beyondprop.measure import Column, Description, Figures

BACKPROP = "backprop"
FROZEN = "frozen"
LINEAR = "linear"
CONTROLS = (BACKPROP, FROZEN, LINEAR)


@dataclass(frozen=True)
class TaskFacts:
    """The task of all runs of a comparison; sizes are numbers of examples.

    `augmented` states whether the training examples were changed at random in each epoch.
    """

    name: str
    data: str
    train: float | None
    validation: float | None
    test: float | None
    metric: str
    classes: tuple[str, ...]
    augmented: bool = False


@dataclass(frozen=True)
class Point:
    """One epoch of a run; epoch 0 is before training. `measures` holds the figures by measure."""

    epoch: int
    step: int
    score: float | None
    seconds: float | None
    measures: Mapping[str, Figures] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """The outcome of one rule and seed.

    `measures` holds the figures at the end, by measure. `head` states how the last layer above
    frozen hidden blocks was solved, or why it was not. `called` and `does` describe the rule in the
    words of its class, for rules that the library does not know.
    """

    rule: str
    seed: int
    status: str
    reason: str | None
    learning_rate: float | None
    curve: tuple[Point, ...]
    score: float | None
    confusion: tuple[tuple[int, ...], ...] | None
    parameters: float | None
    trained_parameters: float | None
    attached: str
    spec: Mapping[str, Any]
    provenance: Mapping[str, Any]
    measures: Mapping[str, Figures] = field(default_factory=dict)
    head: Mapping[str, Any] | str | None = None
    called: str = ""
    does: str = ""

    @property
    def solved(self) -> bool:
        """Whether its last layer was solved, so that no training was needed."""
        return isinstance(self.head, Mapping)

    @property
    def finished(self) -> bool:
        """Whether the run finished with finite numbers."""
        return self.status == "finished"


@dataclass(frozen=True)
class RuleRow:
    """One rule over all seeds: a line of the table.

    `figures` holds the measured values by the keys of columns.
    """

    rule: str
    runs: int
    finished: int
    diverged: int
    failed: int
    score_mean: float | None = None
    score_std: float | None = None
    recovery: float | None = None
    score_interval: tuple[float, float] | None = None
    recovery_interval: tuple[float, float] | None = None
    recovery_below: str | None = None
    recovery_reason: str | None = None
    train_seconds: float | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)

    @property
    def spread(self) -> float | None:
        """Half the interval of the score, or the standard deviation if a record has no interval."""
        if self.score_interval is None:
            return self.score_std
        return (self.score_interval[1] - self.score_interval[0]) / 2

    def number(self, key: str) -> float | None:
        """Return a figure, if it was measured and is a number."""
        found = self.figures.get(key)
        return float(found) if isinstance(found, int | float) else None


@dataclass(frozen=True)
class Trial:
    """One trial of the tuning: a learning rate and the validation score it reached."""

    rule: str
    learning_rate: float | None
    status: str
    score: float | None
    optimizer: str = ""
    epochs: int = 0


@dataclass(frozen=True)
class Search:
    """The result of the search of a rule's learning rate.

    `compute` and `step_cost` are in units of backprop's; `edge` states that the budget ended before
    the rate was tried between two others.
    """

    optimizer: str
    trials: int
    compute: float
    step_cost: float
    edge: bool
    counted: bool = True


@dataclass(frozen=True)
class Tuning:
    """How each rule's learning rate was chosen."""

    epochs: tuple[int, ...] = ()
    budget: float | None = None
    trials: tuple[Trial, ...] = ()
    chosen: Mapping[str, float | None] = field(default_factory=dict)
    searches: Mapping[str, Search] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """Rules x seeds on one task.

    `controlled` is False for runs that were started one by one: their budgets may differ, so the
    report compares them with a warning and without recovery. `chance` is the score of a model that
    has learned nothing, and `chance_of` describes that model. `no_linear` states why there is no
    linear model.
    """

    task: TaskFacts
    rows: tuple[RuleRow, ...]
    runs: tuple[Run, ...]
    seeds: tuple[int, ...]
    spec: Mapping[str, Any]
    tuning: Tuning
    provenance: Mapping[str, Any]
    measures: tuple[Description, ...] = ()
    controlled: bool = True
    chance: float | None = None
    chance_of: str = ""
    no_linear: str | None = None

    @property
    def columns(self) -> list[Column]:
        """The columns of its measures in tables."""
        return [column for measure in self.measures for column in measure.columns]

    def row(self, rule: str) -> RuleRow | None:
        """Return the table's line of `rule`, or None if it was not compared."""
        return next((row for row in self.rows if row.rule == rule), None)

    @property
    def below(self) -> str:
        """The lower control of the recoveries, or the stronger one if there are no recoveries."""
        told = next((row.recovery_below for row in self.rows if row.recovery_below), None)
        lower = [row for name in (FROZEN, LINEAR) if (row := self.row(name))]
        known = [row for row in lower if row.score_mean is not None]
        stronger = max(known, key=lambda row: row.score_mean or 0.0, default=None)
        return told or (stronger.rule if stronger else FROZEN)

    @property
    def overlap(self) -> bool:
        """Whether the intervals of backprop and of the lower control overlap, or it is better."""
        high, low = self.row(BACKPROP), self.row(self.below)
        if high is None or low is None or not self.controlled:
            return False
        if high.score_interval is None or low.score_interval is None:
            return False
        return high.score_interval[0] <= low.score_interval[1]

    @property
    def reversed(self) -> bool:
        """Whether the lower control's interval is entirely above that of backprop."""
        high, low = self.row(BACKPROP), self.row(self.below)
        if not self.overlap or high is None or low is None:
            return False
        top, bottom = high.score_interval, low.score_interval
        return top is not None and bottom is not None and top[1] < bottom[0]

    @property
    def no_recovery(self) -> str | None:
        """Why there are no recoveries, if known."""
        if any(row.recovery is not None for row in self.rows):
            return None
        return next((row.recovery_reason for row in self.rows if row.recovery_reason), None)

    def finished(self, rule: str) -> list[Run]:
        """Return the finished runs of `rule`, by seed."""
        return sorted(
            (run for run in self.runs if run.rule == rule and run.finished), key=lambda r: r.seed
        )
