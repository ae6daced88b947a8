"""What to run, as plain data: from Python, from YAML or from the command line's flags.

Each field is written once, with its default and its help: `RunSpec` and `CompareSpec` check what
people give, `RunPlan` and `ComparePlan` (see `plan`) have no field left open.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from beyondprop.errors import UserError
from beyondprop.registry import Spec, check_fields, file_name, label
from beyondprop.registry.limits import Count, Positive

RULES = ("backprop", "fa", "dfa", "drtp", "frozen")
"""Those that are compared unless others are named; see `beyondprop list` for all."""

SEEDS = (0, 1, 2, 3, 4)
"""Those of a comparison, unless others are named."""

MEASURES = ("alignment", "isolation", "probe", "step-time", "memory")
"""Those that every record has, beside the scores, unless others are named."""


@dataclass(frozen=True)
class Fields:
    """What a run and a comparison have in common.

    Attributes:
        task: A task's name (see `beyondprop list`), or your own as my.module:task.
        epochs: Passes over the training data. Default: the task's.
        batch_size: Examples a step. Default: the task's.
        data: Folder that holds the data set's files. Default: the standard places.
        blocks: Module names or patterns that make the blocks. Default: the task's, else one
            block a layer.
        device: Where to compute: cpu, cuda, ...
        threads: CPU threads. One is fastest for small networks, and gives the same result
            whatever the machine's cores; give more for large ones.
        measures: What is measured beside the scores (see `beyondprop list`), or your own as
            my.module:measure.
    """

    task: Spec = "fashion-small"
    epochs: int | None = None
    batch_size: int | None = None
    data: Path | None = None
    blocks: tuple[str | tuple[str, ...], ...] | None = None
    device: str = "cpu"
    threads: int = 1
    measures: tuple[Spec, ...] = MEASURES


@dataclass(frozen=True)
class Adversarial:
    """How training inputs are attacked.

    Attributes:
        epsilon: How far each feature may be moved, as a share of its range in the training data.
        steps: Gradients taken for each batch; a step of training costs that many passes more.

    Raises:
        UserError: A field is out of its limits.
    """

    epsilon: Positive
    steps: Count = 5

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class RunFields(Fields):
    """A run's.

    Attributes:
        rule: A rule's name (see `beyondprop list`), or your own as my.module:rule; with arguments
            as {rule: NAME, ARGUMENT: VALUE}.
        seed: Decides the initial weights and the order of the data, the same for every rule.
        learning_rate: The optimizer's learning rate at the start; it falls linearly to zero.
            Default: the task's, or of an optimizer that is named its usual one.
        optimizer: The optimizer: adam, adamw, sgd, or with arguments as {optimizer: sgd,
            weight_decay: 5e-4}, or your own as my.module:factory. Default: the task's.
        feedback_seed: Decides the rule's fixed random matrices. Default: the seed.
        schedule: When the blocks learn: joint, after the forward pass; immediate, each within it;
            pipeline, on several processes that torchrun starts.
        adversarial: Adversarial training: every batch is attacked before the rule's step, as
            {epsilon: 0.1, steps: 5}; epsilon is a share of each feature's range. Default: no.
    """

    rule: Spec = "dfa"
    seed: int = 0
    learning_rate: float | None = None
    optimizer: Spec | None = None
    feedback_seed: int | None = None
    schedule: str = "joint"
    adversarial: Adversarial | None = None


@dataclass(frozen=True)
class CompareFields(Fields):
    """A comparison's.

    Attributes:
        rules: The rules to compare, each as for a run; recovery needs backprop above, and
            below frozen or the linear model that each comparison has. Default: backprop, fa, dfa,
            drtp and frozen, or what a resumed folder has.
        seeds: Each rule runs once with each seed. Default: 0 to 4, or what a resumed folder
            has.
        learning_rates: Every rule begins its search with these, and goes beyond them where its
            best lies at an end; the validation split decides. One alone skips the search. Default:
            the task's times 0.1, 0.3, 1, 3 and 10.
        optimizers: Every rule tries each of them, given as a run's optimizer; without
            learning_rates each begins around its own usual rate. Default: the task's.
        tuning_epochs: Length of the longest trials; the first are a ninth, the next a third as
            long. Default: a third of the epochs.
        tuning_budget: What the search of each rule may cost, in trainings of tuning_epochs by
            backprop; a step of another rule counts by its floating-point operations. Default: 10
            for each optimizer.
        tuning_seed: The seed of the trials; not one of the seeds reported.
        measure_cost: Whether to measure step time and peak memory against plain PyTorch.
    """

    rules: tuple[Spec, ...] | None = None
    seeds: tuple[int, ...] | None = None
    learning_rates: tuple[float, ...] | None = None
    optimizers: tuple[Spec, ...] | None = None
    tuning_epochs: int | None = None
    tuning_budget: float | None = None
    tuning_seed: int = 1000
    measure_cost: bool = True


@dataclass(frozen=True)
class RunSpec(RunFields):
    """One run: a task, a rule and a seed.

    `RunFields` says what the fields are.

    Raises:
        UserError: A field has a value that no run can have.
    """

    def __post_init__(self) -> None:
        _check(self)
        _seeds("seed", (self.seed,))
        if self.feedback_seed is not None:
            _seeds("feedback_seed", (self.feedback_seed,))
        if self.learning_rate is not None:
            _rates("learning_rate", (self.learning_rate,))


@dataclass(frozen=True)
class CompareSpec(CompareFields):
    """A comparison: rules x seeds on one task, the same budget for every rule.

    `CompareFields` says what the other fields are.

    Attributes:
        projections: Every rule that takes a projection is compared through each of these, written
            as rules are (see `beyondprop list`); a rule that takes none is compared once. Added
            to a resumed folder they go with the rules that it has. Default: each rule's own.

    Raises:
        UserError: A field has a value that no comparison can have.
    """

    projections: tuple[Spec, ...] | None = None

    def __post_init__(self) -> None:
        _check(self)
        _counts(self, "tuning_epochs")
        # A run's folder is named after its rule, so these must differ too.
        rules, seeds = self.rules_or_default, self.seeds_or_default
        _distinct("rules", [label(rule) for rule in rules])
        _distinct("rules", [file_name(label(rule)) for rule in rules])
        _distinct("seeds", seeds)
        _seeds("seeds", seeds)
        _seeds("tuning_seed", (self.tuning_seed,))
        if self.projections is not None:
            _distinct("projections", [label(projection) for projection in self.projections])
        if self.tuning_seed in seeds:
            raise UserError(
                f"tuning_seed={self.tuning_seed} is one of the seeds; learning rates must not be "
                "chosen on a run that is reported, so give it another value"
            )
        if self.optimizers is not None:
            _distinct("optimizers", [label(each) for each in self.optimizers])
        if self.tuning_budget is not None:
            _rates("tuning_budget", (self.tuning_budget,))
        if self.learning_rates is not None:
            _distinct("learning_rates", self.learning_rates)
            _rates("learning_rates", self.learning_rates)

    @property
    def rules_or_default(self) -> tuple[Spec, ...]:
        """The rules that are named, else the usual ones."""
        return RULES if self.rules is None else tuple(self.rules)

    @property
    def seeds_or_default(self) -> tuple[int, ...]:
        """The seeds that are named, else the usual ones."""
        return SEEDS if self.seeds is None else tuple(self.seeds)


def _check(spec: Fields) -> None:
    check_fields(spec)
    _counts(spec, "epochs", "batch_size", "threads")
    if spec.blocks is not None:
        _distinct("blocks", spec.blocks)


def _counts(spec: object, *fields: str) -> None:
    for field in fields:
        value = getattr(spec, field)
        if value is not None and value < 1:
            raise UserError(f"{field} must be at least 1, not {value}")


def _seeds(field: str, values: Sequence[int]) -> None:
    for value in values:
        if not 0 <= value < 2**63:
            raise UserError(f"{field} must be between 0 and 2**63 - 1, not {value}")


def _rates(field: str, values: Sequence[float]) -> None:
    for value in values:
        if not (value > 0 and math.isfinite(value)):
            raise UserError(f"{field} must be positive and finite, not {value}")


def _distinct(field: str, values: Sequence[object]) -> None:
    if not values:
        raise UserError(f"{field} is empty; give at least one")
    if len(set(values)) < len(values):
        raise UserError(f"{field} names something twice: {', '.join(map(str, values))}")
