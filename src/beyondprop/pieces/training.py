"""Training of a model: a recipe, a course of batches, and the loop."""

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
"""Builds an optimizer from parameters, or groups of them, and a learning rate."""


class LabelledBatches(Protocol):
    """Batches of (inputs, targets) that can be iterated repeatedly: a list, a DataLoader."""

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
        batch_size: Samples in a step, if they come from a cache.
        learning_rate: The initial learning rate, which falls linearly to zero.
        distance: The distance to minimise.
        optimizer: Builds an optimizer from parameters and a learning rate.
        rule: The rule of the student's blocks; by default backprop within the piece.
        blocks: The student's blocks for that rule; see `beyondprop.attach`.
        seed: The seed of the order of samples, and of random numbers during training.
        steps: The maximum number of steps over all epochs; None sets no limit.
        threads: CPU threads. Their number affects rounding, so a fixed number gives the same
            students on any worker.

    Raises:
        UserError: A number is not above zero, or a value has the wrong type.
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
        """Return the total number of steps, if an epoch has at most this many."""
        return min(self.epochs * steps, self.steps or self.epochs * steps)

    def epochs_of(self, steps: int) -> list[int]:
        """Return the number of steps of each epoch, if an epoch has at most this many."""
        left = [self.total(steps) - epoch * steps for epoch in range(self.epochs)]
        return [min(each, steps) for each in left if each > 0]


@dataclass(frozen=True)
class Curve:
    """The course of a student's training.

    Attributes:
        errors: The mean distance of each epoch's steps.
        steps: The number of steps.
        samples: The number of samples seen, counting repetitions.
        operations: Floating-point operations of all steps, extrapolated from the first step, which
            PyTorch counts.
        seconds: The time of each epoch's steps on this machine, without validation.
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
    """Attach a recipe's rule inside the context; afterwards, always put the model into eval mode.

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
    """The batches and losses from which a model with an attached rule learns.

    Attributes:
        handle: The attachment of the rule.
    """

    handle: Attachment

    @property
    @abstractmethod
    def steps(self) -> int:
        """The number of batches in an epoch."""

    @abstractmethod
    def batches(self, epoch: int) -> Iterable[T]:
        """Return the batches of an epoch."""

    @abstractmethod
    def loss(self, batch: T) -> Tensor:
        """Return the loss of a batch, a scalar."""

    @abstractmethod
    def rows(self, batch: T) -> int:
        """Return the number of samples in a batch."""

    def differentiate(self, batch: T) -> Tensor:
        """Add a batch's gradients to those of the parameters, and return its loss."""
        loss = self.loss(batch)
        loss.backward()
        return loss

    def parameters(self) -> Iterable[Any]:
        """Return the parameters that learn, or groups of them with separate learning rates."""
        return [*self.handle.model.parameters(), *self.handle.parameters()]


@dataclass(frozen=True)
class ByLabels(Course[Labelled]):
    """Training of a complete model on targets.

    Attributes:
        handle: The attachment of the rule that trains the model.
        data: Inputs and targets.
        measure: Maps (outputs, targets) to a scalar.
    """

    handle: Attachment
    data: LabelledBatches
    measure: Callable[[Any, Any], Tensor]

    @property
    def steps(self) -> int:
        """The number of batches in the data."""
        return len(self.data)

    def batches(self, epoch: int) -> Iterable[Labelled]:
        """Return the data, which determines its own order."""
        del epoch
        return self.data

    def loss(self, batch: Labelled) -> Tensor:
        """Return the loss of the model's outputs."""
        inputs, targets = batch
        with self.handle.targets(targets) if self.handle.needs_targets else nullcontext():
            return self.measure(call_model(self.handle.model, inputs), targets)

    def rows(self, batch: Labelled) -> int:
        """Return the number of rows of the inputs."""
        return len(next(leaves(batch[0])))


def trained(
    course: Course[T],
    recipe: Recipe,
    progress: Progress,
    title: str,
    stopping: Stopping | None = None,
) -> Curve:
    """Train a model; restore random generators afterwards.

    Args:
        course: The batches and losses.
        recipe: The training recipe.
        progress: Draws the progress bar.
        title: The title of the bar.
        stopping: Decides after each epoch whether training stops; None runs all epochs.

    Raises:
        DivergedError: The loss is no longer a number.
        UserError: The data has no batches.
    """
    handle, total = course.handle, recipe.total(course.steps)
    errors, seconds, done, samples, operations = [], [], 0, 0, 0.0  # operations per sample
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
    """Return the optimizer of a model's and its rule's parameters."""
    model = course.handle.model
    found = recipe.optimizer(course.parameters(), recipe.learning_rate)
    return found if slots.machine_of(model) is None else slots.drive(found, model)
