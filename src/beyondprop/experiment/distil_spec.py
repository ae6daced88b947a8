"""What to distil piece by piece, as plain data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from beyondprop.errors import UserError
from beyondprop.registry import Spec, check_fields, label

CANDIDATES: tuple[Spec, ...] = (
    {"candidate": "narrower", "share": 0.75},
    {"candidate": "narrower", "share": 0.5},
    {"candidate": "narrower", "share": 0.25},
    {"candidate": "low-rank", "share": 0.25},
)
"""Those that are trained for every neighbourhood unless others are named."""
OPERATIONS, SECONDS = "operations", "seconds"
LIMITS = {
    OPERATIONS: "operations",
    "parameters": "parameters",
    "bytes": "bytes of weights",
    SECONDS: "time of a sample",
}
"""What budgets can limit, with what people read."""


@dataclass(frozen=True)
class DistilSpec:
    """A distillation piece by piece, beside what the same computation does otherwise.

    Attributes:
        task: A task's name (see `beyondprop list`), or your own as my.module:task.
        blocks: Names or patterns of the neighbourhoods. Default: the task's blocks, but the last.
        candidates: Students of each neighbourhood, by name or with arguments.
        budgets: Shares of the operations of the whole model that are kept, no two alike.
        limit: What budgets are shares of, in place of operations: parameters, bytes of weights, or
            seconds of a forward pass of one sample, measured on this machine once.
        ranked: Assemblies within each budget, the best predicted ones, that are put together to see
            whether the predicted order is the real one.
        seeds: Each has a teacher and students of its own.
        teacher_epochs: Passes over the data by which teachers are trained. Default: the task's.
        epochs: Passes over the activations by which students are trained.
        heal_epochs: Passes over the data by which a model is trained that was put together.
        batch_size: Samples a step of students and of whole models. Default: the task's.
        learning_rate: Of students.
        rates: Learning rates of whole models; each way to train them takes the one that serves it
            best on the validation data.
        rule: That heals; the other ways to train whole models are backprop's.
        cache_gib: GiB of activations on disk, at most, for each seed.
        samples: Training samples that students and whole models see, the first so many in each
            seed's order; the teacher sees all. Default: all.
        inputs: How inputs are drawn at random, by name or with arguments: each neighbourhood's
            own, and the network's for training end to end. Of the training samples (256 at most,
            or as many as are named) only forms and moments are then seen, and no labels. Default:
            students learn from training samples.
        data: Folder that holds the data set's files. Default: the standard places.
        threads: CPU threads.

    Raises:
        UserError: A field makes no sense.
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
