"""Settings of runs, as plain data: from Python, from YAML or from the command line's flags.

Each field is defined once, with its default and its help. `RunSpec` and `CompareSpec` check user
input; in `RunPlan` and `ComparePlan` (see `plan`) every field has a value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path

from beyondprop.errors import UserError, shown
from beyondprop.registry import Spec, check_fields, file_name, label
from beyondprop.registry.limits import Count, Positive

RULES = ("backprop", "fa", "dfa", "drtp", "frozen")
"""The rules that are compared by default; see `beyondprop list` for all."""

SEEDS = (0, 1, 2, 3, 4)
"""The default seeds of a comparison."""

SEED_FIELDS = ("seed", "seeds", "feedback_seed", "tuning_seed")
"""The fields that hold seeds."""

MEASURES = ("alignment", "isolation", "probe", "step-time", "memory")
"""The default measures of a record, in addition to the scores."""


@dataclass(frozen=True)
class Fields:
    """The fields that runs and comparisons share.

    Attributes:
        task: A task's name (see `beyondprop list`), or your own as my.module:task.
        epochs: Passes over the training data. Default: the task's.
        batch_size: Samples per step. Default: the task's.
        data: Folder that contains the data set. Default: the standard locations.
        blocks: Module names or patterns that define the blocks. Default: the task's, or one block
            per layer.
        device: Device to train on: cpu, cuda, ...
        threads: CPU threads. One thread is fastest for small networks, and gives the same result on
            any number of cores. Use more for large networks.
        measures: Measures to compute in addition to the scores (see `beyondprop list`), or your own
            as my.module:measure.
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
    """The attack on training inputs.

    Attributes:
        epsilon: Largest change of each feature, as a fraction of its range in the training data.
        steps: Gradient steps for each batch. Each one adds a forward and a backward pass to the
            training step.

    Raises:
        UserError: A field is outside its limits.
    """

    epsilon: Positive
    steps: Count = 5

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class RunFields(Fields):
    """The fields of a run.

    Attributes:
        rule: A rule's name (see `beyondprop list`), or your own as my.module:rule; with arguments
            as {rule: NAME, ARGUMENT: VALUE}.
        seed: Seed of the initial weights and of the order of the data, which are the same for every
            rule.
        learning_rate: Initial learning rate. It decreases linearly to zero. Default: the task's, or
            the usual one of the optimizer that you name.
        optimizer: Optimizer: adam, adamw or sgd, with arguments as {optimizer: sgd, weight_decay:
            5e-4}, or your own as my.module:factory. Default: the task's.
        feedback_seed: Seed of the rule's fixed random matrices. Default: the seed of the run.
        schedule: When the blocks learn: joint, after the forward pass; immediate, each block during
            the forward pass; pipeline, in several processes that torchrun starts.
        adversarial: Adversarial training: attack every batch before the rule's step, as {epsilon:
            0.1, steps: 5}, where epsilon is a fraction of each feature's range. Default: no.
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
    """The fields of a comparison.

    Attributes:
        rules: Rules to compare, each written as for a run. Recovery is computed from backprop and
            from a lower baseline: frozen, or the linear model that every comparison includes.
            Default: backprop, fa, dfa, drtp and frozen, or those of the resumed folder.
        seeds: Random seeds. Each rule runs once with each seed. Default: 0 to 4, or those of the
            resumed folder.
        learning_rates: Learning rates that each rule's search starts with. If the best one on the
            validation split is the smallest or the largest, the search continues beyond it. A
            single value skips the search. Default: the task's times 0.1, 0.3, 1, 3 and 10.
        optimizers: Optimizers that every rule tries, each written as for a run. Without
            learning_rates, the search for each optimizer starts around its usual rate. Default: the
            task's.
        tuning_epochs: Epochs of the longest trials. The first trials take a ninth and the next a
            third of this. Default: a third of the epochs.
        tuning_budget: Cost limit of each rule's search, in backprop trainings of tuning_epochs. A
            step of another rule counts by its floating-point operations. Default: 10 for each
            optimizer.
        tuning_seed: Seed of the trials. It must not be one of the reported seeds.
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

    `RunFields` describes the fields.

    Raises:
        UserError: A field has an invalid value.
    """

    def __post_init__(self) -> None:
        _check(self)
        if self.learning_rate is not None:
            _rates("learning_rate", (self.learning_rate,))


@dataclass(frozen=True)
class CompareSpec(CompareFields):
    """A comparison: rules × seeds on one task, with the same budget for every rule.

    `CompareFields` describes the other fields.

    Attributes:
        projections: Projections to compare (see `beyondprop list`), each written like a rule. Every
            rule that takes a projection is compared with each of them, and every other rule once.
            Projections added to a resumed folder are combined with its rules. Default: each rule's
            own.

    Raises:
        UserError: A field has an invalid value.
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
        """The given rules, or the default ones."""
        return RULES if self.rules is None else tuple(self.rules)

    @property
    def seeds_or_default(self) -> tuple[int, ...]:
        """The given seeds, or the default ones."""
        return SEEDS if self.seeds is None else tuple(self.seeds)


def _check(spec: Fields) -> None:
    check_seeds(spec)
    check_fields(spec)
    _counts(spec, "epochs", "batch_size", "threads")
    if spec.blocks is not None:
        _distinct("blocks", spec.blocks)


def _counts(spec: object, *fields: str) -> None:
    for field in fields:
        value = getattr(spec, field)
        if value is not None and value < 1:
            raise UserError(f"{field} must be at least 1, not {value}")


def check_seeds(spec: object) -> None:
    """Check the range of a spec's seeds; `check_fields` checks their types.

    Raises:
        UserError: A seed is outside the range.
    """
    for field in SEED_FIELDS:
        given = getattr(spec, field, None)
        for value in given if isinstance(given, tuple | list) else (given,):
            whole = isinstance(value, Integral) and not isinstance(value, bool)
            if whole and not 0 <= value < 2**63:
                raise UserError(f"{field} must be between 0 and 2**63 - 1, not {shown(value)}")


def _rates(field: str, values: Sequence[float]) -> None:
    for value in values:
        if not (value > 0 and math.isfinite(value)):
            raise UserError(f"{field} must be positive and finite, not {value}")


def _distinct(field: str, values: Sequence[object]) -> None:
    if not values:
        raise UserError(f"{field} is empty; give at least one")
    if len(set(values)) < len(values):
        raise UserError(f"{field} names something twice: {', '.join(map(str, values))}")
