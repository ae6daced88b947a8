"""Plans: specs with all filled in that they leave to the task. This is what `spec.json` keeps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from torch.nn import Parameter
from torch.optim import Optimizer

from beyondprop.experiment.search import Setting, Space
from beyondprop.experiment.spec import CompareFields, CompareSpec, Fields, RunFields, RunSpec
from beyondprop.files import finite
from beyondprop.registry import Spec, label
from beyondprop.tasks import OPTIMIZERS, Task

AROUND = (0.1, 0.3, 1, 3, 10)
"""Learning rates that a search begins with, relative to the task's or the optimizer's."""

Factory = Callable[[Iterable[Parameter], float], Optimizer]

STEPS = 50
"""Of a trial at least, where the longest has as many."""
BUDGET = 10.0
"""What a search may cost for each optimizer, in trainings of the longest trial by backprop."""


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
    tuning_epochs: int = field()
    tuning_budget: float = field()

    @property
    def names(self) -> dict[str, Spec]:
        """The rules by what tables call them, in their order."""
        return {label(rule): rule for rule in self.rules}

    @property
    def tried(self) -> dict[str, Spec | None]:
        """The optimizers that are tried by their labels; None under "" is the task's own."""
        return {label(each): each for each in self.optimizers or ()} or {"": None}

    @property
    def first(self) -> Setting:
        """One setting of those that are tried: the first optimizer at its lowest learning rate."""
        optimizer, rates = next(iter(self.space.rates.items()))
        return Setting(optimizer, rates[0])

    @property
    def space(self) -> Space:
        """Where every rule searches for its learning rate and optimizer."""
        longest = self.tuning_epochs
        lengths = sorted({math.ceil(longest / 9), math.ceil(longest / 3), longest})
        rates = {name: self._rates(each) for name, each in self.tried.items()}
        return Space(rates, lengths, self.tuning_budget)

    def space_on(self, samples: int) -> Space:
        """Return where every rule searches with so many training samples.

        No trial but the longest is so short that it says nothing.
        """
        steps = math.ceil(samples / self.batch_size)
        lengths = self.space.lengths
        least = min(math.ceil(STEPS / steps), lengths[-1])
        return replace(self.space, lengths=sorted({max(each, least) for each in lengths}))

    def _rates(self, optimizer: Spec | None) -> tuple[float, ...]:
        if self.learning_rates:
            return self.learning_rates
        assert optimizer is not None, "the task's own optimizer has the task's learning rates"
        return around(OPTIMIZERS.make(optimizer).usual_rate)

    def run(self, name: str, seed: int, setting: Setting) -> RunPlan:
        """Return the plan of one of its runs: all but the arguments is the same for every rule."""
        return self._run(name, seed, setting, self.epochs)

    def trial(self, name: str, setting: Setting, epochs: int) -> RunPlan:
        """Return the plan of one of its trials of a setting."""
        return self._run(name, self.tuning_seed, setting, epochs)

    def _run(self, name: str, seed: int, setting: Setting, epochs: int) -> RunPlan:
        common = {each.name: getattr(self, each.name) for each in fields(Fields)}
        return RunPlan(
            **common | {"epochs": epochs},
            rule=self.names[name],
            seed=seed,
            feedback_seed=seed,
            optimizer=self.tried[setting.optimizer],
            learning_rate=setting.learning_rate,
        )


def factory(task: Task, optimizer: Spec | None) -> Factory:
    """Return what makes the optimizer of this name, or the task's own of None."""
    return task.optimizer if optimizer is None else OPTIMIZERS.make(optimizer)


def usual_rate(task: Task, optimizer: Spec | None) -> float:
    """Return the learning rate of a task's own optimizer, or the usual one of another."""
    return task.learning_rate if optimizer is None else OPTIMIZERS.make(optimizer).usual_rate


def plan_run(spec: RunSpec, task: Task, named: Spec) -> RunPlan:
    """Return the plan of a run of `task`, which is named so."""
    seed = spec.seed if spec.feedback_seed is None else spec.feedback_seed
    rate = spec.learning_rate or usual_rate(task, spec.optimizer)
    own = {"learning_rate": rate, "feedback_seed": seed}
    return RunPlan(**vars(spec) | _common(spec, task, named) | own)


def plan_compare(spec: CompareSpec, task: Task, named: Spec) -> ComparePlan:
    """Return the plan of a comparison on `task`, which is named so."""
    common = _common(spec, task, named)
    optimizers = tuple(spec.optimizers or task.optimizers) or None
    usual = around(task.learning_rate) if optimizers is None else None
    rates = spec.learning_rates or usual
    own = {
        "rules": in_order(spec.rules_or_default),
        "seeds": spec.seeds_or_default,
        "optimizers": optimizers,
        "learning_rates": tuple(sorted(rates)) if rates else None,
        "tuning_epochs": spec.tuning_epochs or math.ceil(common["epochs"] / 3),
        "tuning_budget": spec.tuning_budget or BUDGET * len(optimizers or ("",)),
    }
    given = {each.name: getattr(spec, each.name) for each in fields(CompareFields)}
    return ComparePlan(**given | common | own)


def around(rate: float) -> tuple[float, ...]:
    """Return the learning rates that a search begins with, ascending."""
    return tuple(float(f"{factor * rate:.6g}") for factor in AROUND)


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
