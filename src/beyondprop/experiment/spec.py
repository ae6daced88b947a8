"""What to run, as plain data: from Python, from YAML or from the command line's flags."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from beyondprop.errors import UserError

RULES = ("backprop", "fa", "dfa", "drtp", "frozen")
"""Those that are compared unless others are named; see `beyondprop list` for all."""


@dataclass(frozen=True)
class RunSpec:
    """One run: a task, a rule and a seed.

    Attributes:
        task: A task's name (see `beyondprop list`), or your own as my.module:task.
        rule: A rule's name (see `beyondprop list`).
        seed: Decides the initial weights and the order of the data, the same for every rule.
        epochs: Passes over the training data. Default: the task's.
        batch_size: Examples a step. Default: the task's.
        learning_rate: The optimizer's learning rate at the start; it falls linearly to zero.
            Default: the task's.
        data: Folder that holds the data set's files. Default: they are looked for.
        feedback_seed: Decides the rule's fixed random matrices. Default: the seed.
        blocks: Module names or patterns that make the blocks. Default: the task's, else one
            block a layer.
        device: Where to compute: cpu, cuda, ...
        threads: CPU threads. One is fastest for small networks, and gives the same result
            whatever the machine's cores; give more for large ones.
        schedule: When the blocks learn: joint, after the forward pass; immediate, each within it;
            pipeline, on several processes that torchrun starts.
    """

    task: str = "digits-mlp"
    rule: str = "dfa"
    seed: int = 0
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    data: Path | None = None
    feedback_seed: int | None = None
    blocks: tuple[str, ...] | None = None
    device: str = "cpu"
    threads: int = 1
    schedule: str = "joint"

    def __post_init__(self) -> None:
        _counts(self, "epochs", "batch_size", "threads")
        _seeds("seed", (self.seed,))
        if self.feedback_seed is not None:
            _seeds("feedback_seed", (self.feedback_seed,))
        if self.learning_rate is not None:
            _rates("learning_rate", (self.learning_rate,))
        _blocks(self)


@dataclass(frozen=True)
class CompareSpec:
    """A comparison: rules x seeds on one task, the same budget for every rule.

    Attributes:
        task: A task's name (see `beyondprop list`), or your own as my.module:task.
        rules: The rules to compare; recovery needs the two controls, backprop and frozen.
        seeds: Each rule runs once with each seed.
        epochs: Passes over the training data. Default: the task's.
        batch_size: Examples a step. Default: the task's.
        learning_rates: Every rule tries each of them and keeps the best on the validation
            split; one alone skips the trials. Default: the task's times 0.1, 0.3, 1, 3 and 10.
        tuning_epochs: Length of a trial. Default: a third of the epochs.
        tuning_seed: The seed of the trials; not one of the seeds reported.
        data: Folder that holds the data set's files. Default: they are looked for.
        blocks: Module names or patterns that make the blocks. Default: the task's, else one
            block a layer.
        measure_cost: Whether to measure step time and peak memory against plain PyTorch.
        device: Where to compute: cpu, cuda, ...
        threads: CPU threads. One is fastest for small networks, and gives the same result
            whatever the machine's cores; give more for large ones.
    """

    task: str = "digits-mlp"
    rules: tuple[str, ...] = RULES
    seeds: tuple[int, ...] = (0, 1, 2)
    epochs: int | None = None
    batch_size: int | None = None
    learning_rates: tuple[float, ...] | None = None
    tuning_epochs: int | None = None
    tuning_seed: int = 1000
    data: Path | None = None
    blocks: tuple[str, ...] | None = None
    measure_cost: bool = True
    device: str = "cpu"
    threads: int = 1

    def __post_init__(self) -> None:
        _counts(self, "epochs", "batch_size", "tuning_epochs", "threads")
        _distinct("rules", self.rules)
        _distinct("seeds", self.seeds)
        _seeds("seeds", self.seeds)
        _seeds("tuning_seed", (self.tuning_seed,))
        if self.tuning_seed in self.seeds:
            raise UserError(
                f"tuning_seed {self.tuning_seed} is one of the seeds; learning rates must not be "
                "chosen on a run that is reported, so give it another value"
            )
        if self.learning_rates is not None:
            _distinct("learning_rates", self.learning_rates)
            _rates("learning_rates", self.learning_rates)
        _blocks(self)


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


def _blocks(spec: RunSpec | CompareSpec) -> None:
    if spec.blocks is not None:
        _distinct("blocks", spec.blocks)
