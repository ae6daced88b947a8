"""Plans: specs with all filled in that they leave to the task. This is what `spec.json` keeps."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from beyondprop.experiment.spec import CompareSpec, RunSpec
from beyondprop.files import (
    finite,
)
from beyondprop.tasks import Task

AROUND = (0.1, 0.3, 1, 3, 10)
"""Learning rates that are tried, relative to the task's."""


@dataclass(frozen=True)
class RunPlan:
    """A run in every detail; the fields are those of `RunSpec`."""

    task: str
    rule: str
    seed: int
    epochs: int
    batch_size: int
    learning_rate: float
    data: Path | None
    feedback_seed: int
    blocks: tuple[str, ...] | None
    device: str
    threads: int
    schedule: str


@dataclass(frozen=True)
class ComparePlan:
    """A comparison in every detail; the fields are those of `CompareSpec`."""

    task: str
    rules: tuple[str, ...]
    seeds: tuple[int, ...]
    epochs: int
    batch_size: int
    learning_rates: tuple[float, ...]
    tuning_epochs: int
    tuning_seed: int
    data: Path | None
    blocks: tuple[str, ...] | None
    measure_cost: bool
    device: str
    threads: int

    def run(self, rule: str, seed: int, learning_rate: float) -> RunPlan:
        """One of its runs: all but the arguments is the same for every rule."""
        return self._run(rule, seed, learning_rate, self.epochs)

    def trial(self, rule: str, learning_rate: float) -> RunPlan:
        """One of its trials of a learning rate."""
        return self._run(rule, self.tuning_seed, learning_rate, self.tuning_epochs)

    def _run(self, rule: str, seed: int, learning_rate: float, epochs: int) -> RunPlan:
        return RunPlan(
            task=self.task,
            rule=rule,
            seed=seed,
            epochs=epochs,
            batch_size=self.batch_size,
            learning_rate=learning_rate,
            data=self.data,
            feedback_seed=seed,
            blocks=self.blocks,
            device=self.device,
            threads=self.threads,
            schedule="joint",
        )


def plan_run(spec: RunSpec, task: Task, name: str) -> RunPlan:
    """The plan of a run of `task`, which goes by `name`."""
    return RunPlan(
        task=name,
        rule=spec.rule,
        seed=spec.seed,
        epochs=spec.epochs or task.epochs,
        batch_size=spec.batch_size or task.batch_size,
        learning_rate=spec.learning_rate or task.learning_rate,
        data=spec.data,
        feedback_seed=spec.seed if spec.feedback_seed is None else spec.feedback_seed,
        blocks=_blocks(spec, task),
        device=spec.device,
        threads=spec.threads,
        schedule=spec.schedule,
    )


def plan_compare(spec: CompareSpec, task: Task, name: str) -> ComparePlan:
    """The plan of a comparison on `task`, which goes by `name`."""
    epochs = spec.epochs or task.epochs
    around = tuple(float(f"{factor * task.learning_rate:.6g}") for factor in AROUND)
    return ComparePlan(
        task=name,
        rules=in_order(spec.rules),
        seeds=tuple(spec.seeds),
        epochs=epochs,
        batch_size=spec.batch_size or task.batch_size,
        learning_rates=tuple(spec.learning_rates or around),
        tuning_epochs=spec.tuning_epochs or math.ceil(epochs / 3),
        tuning_seed=spec.tuning_seed,
        data=spec.data,
        blocks=_blocks(spec, task),
        measure_cost=spec.measure_cost,
        device=spec.device,
        threads=spec.threads,
    )


def in_order(rules: tuple[str, ...]) -> tuple[str, ...]:
    """The rules as they are shown: backprop first, frozen last, the others as given."""
    return tuple(sorted(rules, key=lambda rule: (rule != "backprop", rule == "frozen")))


def as_json(plan: RunPlan | ComparePlan) -> dict[str, Any]:
    """A plan as it is kept in `spec.json`; of a data folder only that there was one."""
    fields: dict[str, Any] = finite(asdict(plan))
    return fields | {"data": None if plan.data is None else "given"}


def _blocks(spec: RunSpec | CompareSpec, task: Task) -> tuple[str, ...] | None:
    named = task.blocks if spec.blocks is None else spec.blocks
    return tuple(named) if named else None
