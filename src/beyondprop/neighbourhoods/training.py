"""A student is trained alone, from the teacher's activations."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

import torch
from rich.progress import Progress
from torch import Tensor, nn
from torch.nn import Parameter
from torch.optim import Optimizer

from beyondprop import slots
from beyondprop._torch.calling import call as call_model
from beyondprop._torch.fused import unfused
from beyondprop._torch.operations import Operations
from beyondprop._torch.pytrees import leaves
from beyondprop.core import Rule
from beyondprop.engine.attach import attach
from beyondprop.engine.attachment import Attachment
from beyondprop.engine.untouched import generators_kept
from beyondprop.errors import UserError
from beyondprop.jobs.progress import bar, bars
from beyondprop.neighbourhoods.activations import Activations
from beyondprop.neighbourhoods.calls import Call
from beyondprop.neighbourhoods.data import length
from beyondprop.neighbourhoods.distances import Distance, RelativeError
from beyondprop.registry import check_fields
from beyondprop.registry.limits import Count, Positive
from beyondprop.rules import Backprop

Labelled = tuple[Any, Any]
"""Inputs and targets of a batch."""
T = TypeVar("T")
OptimizerOf = Callable[[Iterable[Parameter], float], Optimizer]


class LabelledBatches(Protocol):
    """Batches of (inputs, targets) that can be iterated again and again: a list, a DataLoader."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Labelled]: ...


def adam(parameters: Iterable[Parameter], learning_rate: float) -> Optimizer:
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
    """

    errors: tuple[float, ...]
    steps: int
    samples: int
    operations: float


def teach(
    student: nn.Module, activations: Activations, recipe: Recipe, progress: Progress, title: str
) -> Curve:
    """Train a student in place, and leave it in eval mode.

    Args:
        student: Is called as the teacher's piece is.
        activations: Of the neighbourhood.
        recipe: How it is trained.
        progress: Bars to draw on.
        title: Of the bar.

    Raises:
        UserError: The student's output is not of the teacher's form, or its error is no number any
            more.
    """
    if not learns(student):
        student.eval()
        return Curve((), 0, 0, 0.0)  # an identity has nothing to learn
    with taught(student, recipe) as handle:
        return trained(ByTeacher(handle, activations, recipe), recipe, progress, title)


def heal(
    model: nn.Module,
    data: LabelledBatches,
    loss: Callable[[Any, Any], Tensor],
    recipe: Recipe | None = None,
    progress: Progress | None = None,
    output: str | None = None,
    axes: str | Mapping[str, str] | None = None,
) -> Curve:
    """Train a model that was put together as a whole for a while, in place; leave it in eval mode.

    Args:
        model: From `Library.merge`; what requires gradients learns. That is all of it, unless some
            of the teacher's parts, and not all, were frozen.
        data: Batches of (inputs, targets); it has a length, and can be iterated again and again.
        loss: (outputs, targets) to a scalar.
        recipe: How it is trained, by any rule; its batch size and its distance are not used.
        progress: Bars to draw on; by default own ones, on the terminal.
        output: Where the rule takes the error; see `beyondprop.attach`.
        axes: What the axes of the blocks' outputs mean; see `beyondprop.attach`.

    Raises:
        UserError: The rule can't teach the model, nothing in it learns, the data can't be iterated
            again and again, or the loss is no number any more.
    """
    own = recipe or Recipe()
    length(data)
    if not learns(model):
        raise UserError(
            "all of the model is frozen: call model.requires_grad_() before it is healed"
        )
    with ExitStack() as stack:
        shown = progress or stack.enter_context(bars())
        handle = stack.enter_context(taught(model, own, output, axes))
        return trained(ByLabels(handle, data, loss), own, shown, "healing")


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


@dataclass(frozen=True)
class ByTeacher(Course[Call]):
    """A student is taught to answer as the teacher's piece does.

    Attributes:
        handle: Of the rule that teaches the student.
        activations: Of the neighbourhood.
        recipe: Says what is made small, and in which order samples come.
    """

    handle: Attachment
    activations: Activations
    recipe: Recipe

    @property
    def steps(self) -> int:
        """Those of the activations."""
        return self.activations.steps(self.recipe.batch_size)

    def batches(self, epoch: int) -> Iterable[Call]:
        """Return calls; each epoch has its own order."""
        return self.activations.batches(self.recipe.batch_size, self.recipe.seed + epoch)

    def loss(self, batch: Call) -> Tensor:
        """Return the distance from the teacher's output."""
        with seen(self.handle, batch):
            return self.recipe.distance(batch.of(self.handle.model), batch.output)

    def rows(self, batch: Call) -> int:
        """Return those of the call."""
        return batch.rows


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


def trained(course: Course[T], recipe: Recipe, progress: Progress, title: str) -> Curve:
    """Train a model; generators are left as they were.

    Args:
        course: What it is taught.
        recipe: How it is trained.
        progress: Bars to draw on.
        title: Of the bar.

    Raises:
        UserError: The loss is no number any more.
    """
    handle, total = course.handle, recipe.total(course.steps)
    errors, samples, operations = [], 0, 0.0  # of a sample
    with (
        generators_kept({each.device for each in handle.model.parameters()}),
        bar(progress, title, total) as shown,
    ):
        torch.manual_seed(recipe.seed)
        handle.model.train()
        optimizer = optimizer_of(handle, recipe)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 1 / total, total)
        for epoch, steps in enumerate(recipe.epochs_of(course.steps)):
            found = []
            for batch in islice(course.batches(epoch), steps):
                optimizer.zero_grad()
                counted = Operations() if not samples else None
                with counted or nullcontext():
                    loss = course.loss(batch)
                    loss.backward()
                optimizer.step()
                schedule.step()
                found.append(loss.item())
                rows = course.rows(batch)
                if counted is not None:
                    operations = counted.total / rows
                samples += rows
                progress.advance(shown)
            errors.append(sum(found) / len(found))
            if not math.isfinite(errors[-1]):
                raise UserError(
                    f"the error of {title} is no finite number any more in epoch {epoch}: lower "
                    f"the learning rate, which is {recipe.learning_rate:g}"
                )
    return Curve(tuple(errors), total, samples, samples * operations)


def optimizer_of(handle: Attachment, recipe: Recipe) -> Optimizer:
    """Return the optimizer of a model and of what its rule learns."""
    model = handle.model
    found = recipe.optimizer([*model.parameters(), *handle.parameters()], recipe.learning_rate)
    return found if slots.machine_of(model) is None else slots.drive(found, model)


def seen(handle: Attachment, call: Call) -> AbstractContextManager[None]:
    """Return the context in which rules that are taught by targets see the teacher's output.

    Raises:
        UserError: A rule needs one tensor, and the output has several.
    """
    if not handle.needs_targets:
        return nullcontext()
    if len(call.outputs) > 1:
        raise UserError(
            f"a rule that is taught by targets needs one tensor, and the teacher's piece returns "
            f"{len(call.outputs)}: take a rule that needs the error alone"
        )
    return handle.targets(call.outputs[0])


@unfused()
@torch.no_grad()
def error(
    student: nn.Module, activations: Activations, distance: Distance, batch_size: int
) -> float:
    """Return a student's mean distance over a pass, samples weighed alike; it is in eval mode."""
    found = [
        (distance(call.of(student), call.output).item(), call.rows)
        for call in activations.batches(batch_size, 0)
    ]
    return sum(value * count for value, count in found) / sum(count for _, count in found)
