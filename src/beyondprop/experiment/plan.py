"""Plans: specs with the task's defaults filled in, as stored in `spec.json`."""

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
"""Learning rates that a search starts with, relative to the task's or the optimizer's."""

Factory = Callable[[Iterable[Parameter], float], Optimizer]

STEPS = 50
"""Minimum number of steps of a trial, if the longest trial has as many."""
BUDGET = 10.0
"""Budget of a search for each optimizer, in units of the longest trial's training by backprop."""


@dataclass(frozen=True, kw_only=True)
class RunPlan(RunFields):
    """A run in every detail: the fields of `RunSpec`, where those below have values."""

    epochs: int = field()
    batch_size: int = field()
    learning_rate: float = field()
    feedback_seed: int = field()

    @property
    def name(self) -> str:
        """Display name of the rule with its arguments."""
        return label(self.rule)


@dataclass(frozen=True, kw_only=True)
class ComparePlan(CompareFields):
    """A comparison in every detail: the fields of `CompareSpec`, where those below have values."""

    rules: tuple[Spec, ...] = field()
    seeds: tuple[int, ...] = field()
    epochs: int = field()
    batch_size: int = field()
    tuning_epochs: int = field()
    tuning_budget: float = field()

    @property
    def names(self) -> dict[str, Spec]:
        """The rules by display name, in order."""
        return {label(rule): rule for rule in self.rules}

    @property
    def tried(self) -> dict[str, Spec | None]:
        """The optimizers to try by label; None under "" is the task's optimizer."""
        return {label(each): each for each in self.optimizers or ()} or {"": None}

    @property
    def first(self) -> Setting:
        """The first optimizer at its lowest learning rate."""
        optimizer, rates = next(iter(self.space.rates.items()))
        return Setting(optimizer, rates[0])

    @property
    def space(self) -> Space:
        """The search space of every rule's learning rate and optimizer."""
        longest = self.tuning_epochs
        lengths = sorted({math.ceil(longest / 9), math.ceil(longest / 3), longest})
        rates = {name: self._rates(each) for name, each in self.tried.items()}
        return Space(rates, lengths, self.tuning_budget)

    def space_on(self, samples: int) -> Space:
        """Return the search space of every rule with this number of training samples.

        Trials shorter than `STEPS` steps are lengthened, at most to the longest trial.
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
        """Return the plan of a run; everything except the arguments is the same for every rule."""
        return self._run(name, seed, setting, self.epochs)

    def trial(self, name: str, setting: Setting, epochs: int) -> RunPlan:
        """Return the plan of a trial of a setting."""
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
    """Return the factory of the named optimizer; None means the task's optimizer."""
    return task.optimizer if optimizer is None else OPTIMIZERS.make(optimizer)


def usual_rate(task: Task, optimizer: Spec | None) -> float:
    """Return the default learning rate of an optimizer; None means the task's optimizer."""
    return task.learning_rate if optimizer is None else OPTIMIZERS.make(optimizer).usual_rate


def plan_run(spec: RunSpec, task: Task, named: Spec) -> RunPlan:
    """Return the plan of a run on `task`, whose name is `named`."""
    seed = spec.seed if spec.feedback_seed is None else spec.feedback_seed
    rate = spec.learning_rate or usual_rate(task, spec.optimizer)
    own = {"learning_rate": rate, "feedback_seed": seed}
    return RunPlan(**vars(spec) | _common(spec, task, named) | own)


def plan_compare(spec: CompareSpec, task: Task, named: Spec) -> ComparePlan:
    """Return the plan of a comparison on `task`, whose name is `named`."""
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
    """Return the learning rates that a search starts with, in ascending order."""
    return tuple(float(f"{factor * rate:.6g}") for factor in AROUND)


def in_order(rules: tuple[Spec, ...]) -> tuple[Spec, ...]:
    """Return the rules in display order: backprop first, frozen last, the others as given."""
    return tuple(sorted(rules, key=lambda rule: (rule != "backprop", rule == "frozen")))


def as_json(plan: RunPlan | ComparePlan) -> dict[str, Any]:
    """Return a plan in the form of `spec.json`; for a data folder, only whether one was given."""
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
