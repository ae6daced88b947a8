"""How a model is taught: a recipe, a course of batches, and the loop."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

import torch
from rich.progress import Progress
from torch import Tensor, nn
from torch.optim import Optimizer

from beyondprop import slots
from beyondprop._torch.calling import call as call_model
from beyondprop._torch.operations import Operations
from beyondprop._torch.pytrees import leaves
from beyondprop.core import Rule
from beyondprop.engine.attach import attach
from beyondprop.engine.attachment import Attachment
from beyondprop.engine.untouched import generators_kept
from beyondprop.errors import UserError
from beyondprop.jobs.progress import bar
from beyondprop.pieces.distances import Distance, RelativeError
from beyondprop.pieces.diverged import DivergedError
from beyondprop.pieces.stopping import Stopping
from beyondprop.registry import check_fields
from beyondprop.registry.limits import Count, Positive
from beyondprop.rules import Backprop

Labelled = tuple[Any, Any]
"""Inputs and targets of a batch."""
T = TypeVar("T")
OptimizerOf = Callable[[Iterable[Any], float], Optimizer]
"""(parameters, or groups of them; learning rate) to an optimizer."""


class LabelledBatches(Protocol):
    """Batches of (inputs, targets) that can be iterated again and again: a list, a DataLoader."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Labelled]: ...


def adam(parameters: Iterable[Any], learning_rate: float) -> Optimizer:
    """Return Adam."""
    return torch.optim.Adam(parameters, learning_rate)


@dataclass(frozen=True)
class Recipe:
    """How a student is trained.

    Attributes:
        epochs: Passes over the activations.
        batch_size: Samples a step, where they come from a cache.
        learning_rate: At the start; it falls linearly to zero.
        distance: What is made small.
        optimizer: (parameters, learning rate) to an optimizer.
        rule: That teaches the student's blocks; backprop within the piece unless given.
        blocks: Of the student, for that rule; see `beyondprop.attach`.
        seed: Of the order of samples, and of what a student draws as it is trained.
        steps: At most, over all epochs; None: as many as the epochs have.
        threads: Of the CPU: their number decides how sums are rounded, so that with one number
            students are the same whoever trains them.

    Raises:
        UserError: A number is not above zero, or something of another kind.
    """

    epochs: Count = 4
    batch_size: Count = 64
    learning_rate: Positive = 1e-3
    distance: Distance = field(default_factory=RelativeError)
    optimizer: OptimizerOf = adam
    rule: Rule = field(default_factory=Backprop)
    blocks: Sequence[str | tuple[str, ...]] | None = None
    seed: int = 0
    steps: Count | None = None
    threads: Count = 1

    def __post_init__(self) -> None:
        check_fields(self)

    def total(self, steps: int) -> int:
        """Return the steps of all epochs, of which each has so many at most."""
        return min(self.epochs * steps, self.steps or self.epochs * steps)

    def epochs_of(self, steps: int) -> list[int]:
        """Return the steps of each epoch, of which each has so many at most."""
        left = [self.total(steps) - epoch * steps for epoch in range(self.epochs)]
        return [min(each, steps) for each in left if each > 0]


@dataclass(frozen=True)
class Curve:
    """How a student's training went.

    Attributes:
        errors: The mean distance of each epoch's steps.
        steps: How many there were.
        samples: That it was taught, each as often as it came.
        operations: Floating-point operations of all steps, by those of the first one, which PyTorch
            counts.
        seconds: Of each epoch's steps, on this machine; of validation nothing.
    """

    errors: tuple[float, ...]
    steps: int
    samples: int
    operations: float
    seconds: tuple[float, ...] = field(default=(), compare=False)


def learns(model: nn.Module) -> bool:
    """Whether anything in a model requires gradients."""
    return any(each.requires_grad for each in model.parameters())


@contextmanager
def taught(
    model: nn.Module,
    recipe: Recipe,
    output: str | None = None,
    axes: str | Mapping[str, str] | None = None,
) -> Iterator[Attachment]:
    """Attach a recipe's rule inside; behind, also where training failed, the model is in eval mode.

    Raises:
        UserError: The rule can't teach the model.
    """
    handle = attach(model, recipe.rule, recipe.blocks, axes=axes, output=output)
    try:
        yield handle
    finally:
        handle.remove()
        model.eval()


class Course(ABC, Generic[T]):
    """What a model to which a rule is attached is taught, batch by batch.

    Attributes:
        handle: Of the rule.
    """

    handle: Attachment

    @property
    @abstractmethod
    def steps(self) -> int:
        """Batches of an epoch."""

    @abstractmethod
    def batches(self, epoch: int) -> Iterable[T]:
        """Return the batches of an epoch."""

    @abstractmethod
    def loss(self, batch: T) -> Tensor:
        """Return the loss of a batch, a scalar."""

    @abstractmethod
    def rows(self, batch: T) -> int:
        """Return how many samples a batch has."""

    def differentiate(self, batch: T) -> Tensor:
        """Add a batch's gradients to those of the parameters, and return its loss."""
        loss = self.loss(batch)
        loss.backward()
        return loss

    def parameters(self) -> Iterable[Any]:
        """Return what learns: parameters, or groups of them with learning rates of their own."""
        return [*self.handle.model.parameters(), *self.handle.parameters()]


@dataclass(frozen=True)
class ByLabels(Course[Labelled]):
    """A whole model is taught by targets.

    Attributes:
        handle: Of the rule that teaches the model.
        data: Inputs and targets.
        measure: (outputs, targets) to a scalar.
    """

    handle: Attachment
    data: LabelledBatches
    measure: Callable[[Any, Any], Tensor]

    @property
    def steps(self) -> int:
        """Those of the data."""
        return len(self.data)

    def batches(self, epoch: int) -> Iterable[Labelled]:
        """Return the data, whose order is its own."""
        del epoch
        return self.data

    def loss(self, batch: Labelled) -> Tensor:
        """Return the loss of the model's outputs."""
        inputs, targets = batch
        with self.handle.targets(targets) if self.handle.needs_targets else nullcontext():
            return self.measure(call_model(self.handle.model, inputs), targets)

    def rows(self, batch: Labelled) -> int:
        """Return those of the inputs."""
        return len(next(leaves(batch[0])))


def trained(
    course: Course[T],
    recipe: Recipe,
    progress: Progress,
    title: str,
    stopping: Stopping | None = None,
) -> Curve:
    """Train a model; generators are left as they were.

    Args:
        course: What it is taught.
        recipe: How it is trained.
        progress: Bars to draw on.
        title: Of the bar.
        stopping: Says behind each epoch whether it was the last one; None: all are done.

    Raises:
        DivergedError: The loss is no longer a number.
        UserError: The data gives no batch.
    """
    handle, total = course.handle, recipe.total(course.steps)
    errors, seconds, done, samples, operations = [], [], 0, 0, 0.0  # of a sample
    with (
        generators_kept({each.device for each in handle.model.parameters()}),
        bar(progress, title, total) as shown,
    ):
        torch.manual_seed(recipe.seed)
        handle.model.train()
        optimizer = optimizer_of(course, recipe)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 1 / total, total)
        for epoch, steps in enumerate(recipe.epochs_of(course.steps)):
            found, began = [], time.perf_counter()
            for batch in islice(course.batches(epoch), steps):
                optimizer.zero_grad()
                counted = Operations() if not samples else None
                with counted or nullcontext():
                    loss = course.differentiate(batch)
                optimizer.step()
                schedule.step()
                found.append(loss.item())
                rows = course.rows(batch)
                if counted is not None:
                    operations = counted.total / rows
                samples += rows
                done += 1
                progress.advance(shown)
            if not found:
                raise UserError(f"the data of {title} gave no batch in epoch {epoch}")
            errors.append(sum(found) / len(found))
            seconds.append(time.perf_counter() - began)
            if not math.isfinite(errors[-1]):
                raise DivergedError(
                    f"the error of {title} is no longer finite in epoch {epoch}: lower the "
                    f"learning rate, which is {recipe.learning_rate:g}",
                    samples * operations,
                )
            if stopping is not None and stopping.over():
                break
    return Curve(tuple(errors), done, samples, samples * operations, tuple(seconds))


def optimizer_of(course: Course[Any], recipe: Recipe) -> Optimizer:
    """Return the optimizer of a model and of what its rule learns."""
    model = course.handle.model
    found = recipe.optimizer(course.parameters(), recipe.learning_rate)
    return found if slots.machine_of(model) is None else slots.drive(found, model)
