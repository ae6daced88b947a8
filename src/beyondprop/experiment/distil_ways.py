"""Whole models trained in several ways, within a budget of operations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from rich.progress import Progress
from torch import Tensor, nn

from beyondprop import rules, tasks
from beyondprop.errors import UserError
from beyondprop.experiment.assess import score
from beyondprop.experiment.distil_data import Noise, noise
from beyondprop.experiment.distil_spec import DistilSpec
from beyondprop.experiment.order import order
from beyondprop.neighbourhoods import Call, DrawnInputs, Recipe, SoftLabels, heal
from beyondprop.neighbourhoods.cost import forward_operations, step_operations
from beyondprop.tasks import Data, Samples, Task

FACTOR = 3.0
"""Between a rate at an end of those that were tried and the next one."""
MORE = 3
"""Rates that are tried beyond those that are given, at most."""


@dataclass
class Batches:
    """Training batches in another order in each pass, the same for all ways of a seed.

    Attributes:
        samples: Of the training part.
        size: Of a batch.
        seed: Of the orders.
        passes: How many have begun.
    """

    samples: Samples
    size: int
    seed: int
    passes: int = 0

    def __len__(self) -> int:
        return -(-len(self.samples) // self.size)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        rows = order(self.seed, self.passes, len(self.samples))
        self.passes += 1
        for part in rows.split(self.size):
            yield self.samples.batch(part)


@dataclass(frozen=True)
class Setting:
    """What all ways of one seed have in common.

    Attributes:
        spec: The distillation's.
        task: Its task.
        data: As this seed has it, with the training samples that students may see.
        drawn: How inputs are drawn; None where students learn from the training samples.
        seed: Of the teacher and of all training.
        teacher: In eval mode.
        progress: Bars to draw on.
    """

    spec: DistilSpec
    task: Task
    data: Data
    drawn: DrawnInputs | None
    seed: int
    teacher: nn.Module
    progress: Progress

    @property
    def batch_size(self) -> int:
        """Samples a step."""
        return self.spec.batch_size or self.task.batch_size

    @property
    def samples(self) -> int:
        """Samples of a pass in which a whole model is trained."""
        return len(self.data.train) if self.drawn is None else self.drawn.samples

    @property
    def sample(self) -> Call:
        """The whole model's call of one sample; its output is left out."""
        inputs, _ = self.data.train.batch(torch.arange(1))
        arguments, keywords = tasks.arguments_of(inputs)
        return Call(arguments, keywords, None)

    def evaluated(self, model: nn.Module) -> dict[str, float]:
        """Return a model's scores and losses on validation and test data."""
        held, last = (
            score(self.task, model, each) for each in (self.data.validation, self.data.test)
        )
        return {
            "validation_score": held.score,
            "validation_loss": held.loss,
            "score": last.score,
            "loss": last.loss,
        }

    def validation_loss(self, model: nn.Module) -> float:
        """Return a model's loss on the validation data."""
        return score(self.task, model, self.data.validation).loss


def blocks_of(task: Task) -> tuple[str | tuple[str, ...], ...] | None:
    """Return the blocks of a task's model, None where it names none."""
    if task.blocks is None:
        return None
    return tuple(each if isinstance(each, str) else tuple(each) for each in task.blocks)


@dataclass(frozen=True)
class Way:
    """How a whole model is trained.

    Attributes:
        batches: Of inputs and targets.
        loss: (outputs, targets) to a scalar.
        extra: Operations of a sample besides the model's own step.
    """

    batches: Callable[[], Any]
    loss: Callable[[Any, Any], Tensor]
    extra: int = 0


def by_labels(setting: Setting) -> Way:
    """Return training by the task's own loss."""
    return Way(
        partial(Batches, setting.data.train, setting.batch_size, setting.seed), setting.task.loss
    )


def by_teacher(setting: Setting) -> Way:
    """Return training by the teacher's outputs, on drawn inputs where inputs are drawn.

    Outputs are softened classes where there are classes.
    """
    targets = setting.data.train.batch(torch.arange(1))[1]
    distance = SoftLabels() if not targets.is_floating_point() else Recipe().distance
    data, size, seed = setting.data, setting.batch_size, setting.seed
    batches: Callable[[], Batches | Noise] = partial(Batches, data.train, size, seed)
    if setting.drawn is not None:
        batches = partial(noise, setting.drawn, data, setting.teacher, size, seed)
    cost = forward_operations(setting.teacher, setting.sample)
    return Way(lambda: Taught(batches(), setting.teacher), distance, cost)


@dataclass(frozen=True)
class Taught:
    """Batches whose targets are the teacher's outputs."""

    batches: Batches | Noise
    teacher: nn.Module

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        for inputs, _ in self.batches:
            with torch.no_grad():
                outputs = tasks.call(self.teacher, inputs)
            yield inputs, outputs


def trained(
    setting: Setting, fresh: Callable[[], nn.Module], way: Way, budget: float
) -> dict[str, Any]:
    """Return what a whole model reaches within a budget of operations.

    What other learning rates cost is charged to none.
    """
    return searched(setting.spec.rates, partial(attempt, setting, fresh, way, budget))


def searched(
    rates: Sequence[float], attempted: Callable[[float], dict[str, Any]]
) -> dict[str, Any]:
    """Return what the best learning rate reaches.

    Every one is tried, and further ones as long as the best is at an end of those; the one with the
    best validation score is taken.
    """
    found = {rate: attempted(rate) for rate in rates}
    for _ in range(MORE):
        rate = beyond(found)
        if rate is None:
            break
        found[rate] = attempted(rate)
    known = [each for each in found.values() if "failed" not in each]
    if not known:
        return next(iter(found.values()))
    best = max(known, key=quality)
    return best | {"rates": sorted(found), "edge": beyond(found) is not None}


def attempt(
    setting: Setting, fresh: Callable[[], nn.Module], way: Way, budget: float, rate: float
) -> dict[str, Any]:
    """Return what a whole model reaches at a learning rate, or why it failed."""
    torch.manual_seed(setting.seed)
    try:
        model, batches = fresh(), way.batches()
        step = step_operations(model, setting.sample) + way.extra
        rows = setting.samples / len(batches)  # of a batch; the last one of a pass is smaller
        steps = max(1, round(budget / step / rows))
        recipe = Recipe(
            epochs=-(-steps // len(batches)),
            learning_rate=rate,
            rule=rules.make(setting.spec.rule, setting.seed),
            blocks=blocks_of(setting.task),
            seed=setting.seed,
            steps=steps,
        )
        task = setting.task
        heal(model, batches, way.loss, recipe, setting.progress, task.output, task.axes)
    except UserError as error:
        return {"rate": rate, "failed": str(error)}
    return setting.evaluated(model) | {"rate": rate, "steps": steps}


def beyond(found: Mapping[float, Mapping[str, Any]]) -> float | None:
    """Return the next rate beyond the best one, None where that lies between others."""
    known = {rate: each for rate, each in found.items() if "failed" not in each}
    if not known or len(found) < 2:
        return None
    best = max(known, key=lambda rate: quality(known[rate]))
    if best == min(found):
        return best / FACTOR
    return best * FACTOR if best == max(found) else None


def quality(found: Mapping[str, Any]) -> tuple[float, float]:
    """Return what is greater of a better model, by the validation data."""
    return found["validation_score"], -found["validation_loss"]
