"""Plans: specs with all filled in that they leave to the task. This is what `spec.json` keeps."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from beyondprop.experiment.spec import CompareFields, CompareSpec, Fields, RunFields, RunSpec
from beyondprop.files import finite
from beyondprop.registry import Spec, label
from beyondprop.tasks import Task

AROUND = (0.1, 0.3, 1, 3, 10)
"""Learning rates that are tried, relative to the task's."""


@dataclass(frozen=True, kw_only=True)
class RunPlan(RunFields):
    """A run in every detail: the fields of `RunSpec`, of which those below are never open."""

    epochs: int = field()
    batch_size: int = field()
    learning_rate: float = field()
    feedback_seed: int = field()

    @property
    def name(self) -> str:
        """The rule with its arguments, as tables show it."""
        return label(self.rule)


@dataclass(frozen=True, kw_only=True)
class ComparePlan(CompareFields):
    """A comparison in every detail: the fields of `CompareSpec`, those below never open."""

    rules: tuple[Spec, ...] = field()
    seeds: tuple[int, ...] = field()
    epochs: int = field()
    batch_size: int = field()
    learning_rates: tuple[float, ...] = field()
    tuning_epochs: int = field()

    @property
    def names(self) -> dict[str, Spec]:
        """The rules by what tables call them, in their order."""
        return {label(rule): rule for rule in self.rules}

    def run(self, name: str, seed: int, learning_rate: float) -> RunPlan:
        """Return the plan of one of its runs: all but the arguments is the same for every rule."""
        return self._run(name, seed, learning_rate, self.epochs)

    def trial(self, name: str, learning_rate: float) -> RunPlan:
        """Return the plan of one of its trials of a learning rate."""
        return self._run(name, self.tuning_seed, learning_rate, self.tuning_epochs)

    def _run(self, name: str, seed: int, learning_rate: float, epochs: int) -> RunPlan:
        common = {each.name: getattr(self, each.name) for each in fields(Fields)}
        own = {"epochs": epochs, "learning_rate": learning_rate, "feedback_seed": seed}
        return RunPlan(**common | own, rule=self.names[name], seed=seed)


def plan_run(spec: RunSpec, task: Task, named: Spec) -> RunPlan:
    """Return the plan of a run of `task`, which is named so."""
    seed = spec.seed if spec.feedback_seed is None else spec.feedback_seed
    own = {"learning_rate": spec.learning_rate or task.learning_rate, "feedback_seed": seed}
    return RunPlan(**vars(spec) | _common(spec, task, named) | own)


def plan_compare(spec: CompareSpec, task: Task, named: Spec) -> ComparePlan:
    """Return the plan of a comparison on `task`, which is named so."""
    common = _common(spec, task, named)
    around = tuple(float(f"{factor * task.learning_rate:.6g}") for factor in AROUND)
    own = {
        "rules": in_order(spec.rules_or_default),
        "seeds": spec.seeds_or_default,
        "learning_rates": tuple(spec.learning_rates or around),
        "tuning_epochs": spec.tuning_epochs or math.ceil(common["epochs"] / 3),
    }
    given = {each.name: getattr(spec, each.name) for each in fields(CompareFields)}
    return ComparePlan(**given | common | own)


def in_order(rules: tuple[Spec, ...]) -> tuple[Spec, ...]:
    """Return the rules as they are shown: backprop first, frozen last, the others as given."""
    return tuple(sorted(rules, key=lambda rule: (rule != "backprop", rule == "frozen")))


def as_json(plan: RunPlan | ComparePlan) -> dict[str, Any]:
    """Return a plan as `spec.json` keeps it; of a data folder only that there was one."""
    kept: dict[str, Any] = finite(asdict(plan))
    return kept | {"data": None if plan.data is None else "given"}


def _common(spec: Fields, task: Task, named: Spec) -> dict[str, Any]:
    blocks = task.blocks if spec.blocks is None else spec.blocks
    return {
        "task": named,
        "epochs": spec.epochs or task.epochs,
        "batch_size": spec.batch_size or task.batch_size,
        "blocks": tuple(blocks) if blocks else None,
    }
