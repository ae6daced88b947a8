"""Settings of a distillation piece by piece, as plain data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from beyondprop.errors import UserError
from beyondprop.experiment.spec import check_seeds
from beyondprop.registry import Spec, check_fields, label

CANDIDATES: tuple[Spec, ...] = (
    {"candidate": "narrower", "share": 0.75},
    {"candidate": "narrower", "share": 0.5},
    {"candidate": "narrower", "share": 0.25},
    {"candidate": "low-rank", "share": 0.25},
)
"""Candidates that are trained for every neighbourhood by default."""
OPERATIONS, SECONDS = "operations", "seconds"
LIMITS = {
    OPERATIONS: "operations",
    "parameters": "parameters",
    "bytes": "bytes of weights",
    SECONDS: "time of a sample",
}
"""Quantities that budgets can limit, with their display names."""


@dataclass(frozen=True)
class DistilSpec:
    """A distillation piece by piece, compared with other methods at equal computation.

    Attributes:
        task: A task's name (see `beyondprop list`), or your own as my.module:task.
        blocks: Names or patterns of the neighbourhoods. Default: the task's blocks, except the
            last.
        candidates: Student modules to train for each neighbourhood, by name or with arguments.
        budgets: Fractions of the whole model's operations to keep, all different.
        limit: The quantity that budgets limit: operations, parameters, bytes (of the weights), or
            seconds (for a forward pass of one sample, measured once on this machine).
        ranked: Number of assemblies to build for each budget, those with the best predicted scores,
            to check whether the predicted order is the real one.
        seeds: Random seeds. Each seed has its own teacher and students.
        teacher_epochs: Passes over the training data for each teacher. Default: the task's.
        epochs: Passes over the recorded activations for each student.
        heal_epochs: Passes over the training data for each assembled model (healing).
        batch_size: Samples per step, for students and for whole models. Default: the task's.
        learning_rate: Learning rate of the students.
        rates: Learning rates to try for whole models. Each training method uses the one with its
            best result on the validation data.
        rule: Rule that heals assembled models. The other methods that train whole models use
            backprop.
        cache_gib: Maximum size of the activations on disk for each seed, in GiB.
        samples: Number of training samples for students and whole models: the first ones in each
            seed's order. The teacher trains on all. Default: all.
        inputs: Train on random inputs, drawn by this method (by name or with arguments), both for
            each neighbourhood and for the whole network. At most 256 training samples, or the
            number you give, are then used for shapes and moments only, and no labels. Default:
            students learn from training samples.
        data: Folder that contains the data set. Default: the standard locations.
        threads: CPU threads.

    Raises:
        UserError: A field is invalid.
    """

    task: Spec = "fashion-small"
    blocks: tuple[str | tuple[str, ...], ...] | None = None
    candidates: tuple[Spec, ...] = CANDIDATES
    budgets: tuple[float, ...] = (0.85, 0.65, 0.35)
    limit: str = OPERATIONS
    ranked: int = 5
    seeds: tuple[int, ...] = (0, 1, 2)
    teacher_epochs: int | None = None
    epochs: int = 4
    heal_epochs: int = 2
    batch_size: int | None = None
    learning_rate: float = 1e-3
    rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3)
    rule: Spec = "backprop"
    cache_gib: float = 8.0
    samples: int | None = None
    inputs: Spec | None = None
    data: Path | None = None
    threads: int = 1

    def __post_init__(self) -> None:
        check_seeds(self)
        check_fields(self)
        problems = [
            f"{name} must be {what}"
            for name, what, right in (
                ("budgets", "shares between 0 and 1", all(0 < each < 1 for each in self.budgets)),
                ("rates", "numbers above 0", all(0 < each < math.inf for each in self.rates)),
                ("budgets", "different", len(set(self.budgets)) == len(self.budgets)),
                ("seeds", "different", len(set(self.seeds)) == len(self.seeds)),
                ("limit", f"one of {', '.join(LIMITS)}", self.limit in LIMITS),
                ("ranked", "above 0", self.ranked > 0),
                ("epochs", "above 0", self.epochs > 0),
                ("heal_epochs", "above 0", self.heal_epochs > 0),
                ("learning_rate", "above 0", 0 < self.learning_rate < math.inf),
                ("cache_gib", "above 0", 0 < self.cache_gib < math.inf),
                ("threads", "above 0", self.threads > 0),
                (
                    "candidates",
                    "different",
                    len(set(map(label, self.candidates))) == len(self.candidates),
                ),
            )
            if not (right and getattr(self, name))
        ]
        for name in ("teacher_epochs", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                problems.append(f"{name} must be above 0")
        if self.samples is not None and self.samples < 2:
            problems.append("samples must be 2 or more")
        if problems:
            raise UserError("; ".join(problems))
