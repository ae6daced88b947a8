"""A student is trained alone, from the teacher's activations."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol, TypeVar

import torch
from rich.progress import Progress
from torch import Tensor, nn
from torch.nn import Parameter
from torch.optim import Optimizer

from beyondprop import slots
from beyondprop._torch.calling import call as call_model
from beyondprop._torch.pytrees import leaves
from beyondprop.core import Rule
from beyondprop.engine.attach import attach
from beyondprop.engine.attachment import Attachment
from beyondprop.engine.untouched import generators_kept
from beyondprop.errors import UserError
from beyondprop.jobs.progress import bar
from beyondprop.neighbourhoods.activations import Activations
from beyondprop.neighbourhoods.calls import Call
from beyondprop.neighbourhoods.distances import Distance, RelativeError
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
        UserError: A number is not above zero.
    """

    epochs: int = 4
    batch_size: int = 64
    learning_rate: float = 1e-3
    distance: Distance = field(default_factory=RelativeError)
    optimizer: OptimizerOf = adam
    rule: Rule = field(default_factory=Backprop)
    blocks: Sequence[str | tuple[str, ...]] | None = None
    seed: int = 0
    steps: int | None = None
    threads: int = 1

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "steps", "threads"):
            value = getattr(self, name)
            if name == "steps" and value is None:
                continue
            if not isinstance(value, int) or value < 1:
                raise UserError(f"{name} must be a whole number > 0, not {value!r}")
        if not (self.learning_rate > 0 and math.isfinite(self.learning_rate)):
            raise UserError(f"learning_rate must be a number > 0, not {self.learning_rate}")


@dataclass(frozen=True)
class Curve:
    """How a student's training went.

    Attributes:
        errors: The mean distance of each epoch's steps.
        steps: How many there were.
        samples: That it was taught, each as often as it came.
    """

    errors: tuple[float, ...]
    steps: int
    samples: int


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
    if not any(each.requires_grad for each in student.parameters()):
        student.eval()
        return Curve((), 0, 0)  # an identity has nothing to learn
    handle = attach(student, recipe.rule, recipe.blocks)

    def loss(call: Call) -> Tensor:
        with seen(handle, call):
            return recipe.distance(call.of(student), call.output)

    def batches(epoch: int) -> Iterator[Call]:
        return activations.batches(recipe.batch_size, recipe.seed + epoch)

    total = recipe.epochs * activations.steps(recipe.batch_size)
    curve = trained(handle, recipe, batches, total, loss, rows_of, progress, title)
    handle.remove()
    return curve


def heal(
    model: nn.Module,
    data: LabelledBatches,
    loss: Callable[[Any, Any], Tensor],
    recipe: Recipe,
    progress: Progress,
    output: str | None = None,
    axes: str | Mapping[str, str] | None = None,
) -> Curve:
    """Train a model that was put together as a whole for a while, in place; leave it in eval mode.

    Args:
        model: From `Library.merge`; all of it learns.
        data: Batches of (inputs, targets); it has a length, and can be iterated again and again.
        loss: (outputs, targets) to a scalar.
        recipe: How it is trained, by any rule; its batch size and its distance are not used.
        progress: Bars to draw on.
        output: Where the rule takes the error; see `beyondprop.attach`.
        axes: What the axes of the blocks' outputs mean; see `beyondprop.attach`.

    Raises:
        UserError: The rule can't teach the model, or the loss is no number any more.
    """
    handle = attach(model, recipe.rule, recipe.blocks, axes=axes, output=output)

    def own(batch: Labelled) -> Tensor:
        inputs, targets = batch
        with handle.targets(targets) if handle.needs_targets else nullcontext():
            return loss(call_model(model, inputs), targets)

    def rows(batch: Labelled) -> int:
        return len(next(leaves(batch[0])))

    total = recipe.epochs * len(data)
    curve = trained(handle, recipe, lambda _: iter(data), total, own, rows, progress, "healing")
    handle.remove()
    return curve


def trained(
    handle: Attachment,
    recipe: Recipe,
    batches: Callable[[int], Iterable[T]],
    total: int,
    loss: Callable[[T], Tensor],
    rows: Callable[[T], int],
    progress: Progress,
    title: str,
) -> Curve:
    """Train a model to which a rule is attached, and leave it in eval mode; generators are left as
    they were.

    Args:
        handle: Of the rule.
        recipe: How it is trained.
        batches: Returns those of an epoch.
        total: Steps of all epochs.
        loss: Of a batch.
        rows: How many samples a batch has.
        progress: Bars to draw on.
        title: Of the bar.

    Raises:
        UserError: The loss is no number any more.
    """
    with generators_kept({each.device for each in handle.model.parameters()}):
        torch.manual_seed(recipe.seed)
        return _trained(handle, recipe, batches, total, loss, rows, progress, title)


def _trained(
    handle: Attachment,
    recipe: Recipe,
    batches: Callable[[int], Iterable[T]],
    total: int,
    loss: Callable[[T], Tensor],
    rows: Callable[[T], int],
    progress: Progress,
    title: str,
) -> Curve:
    model = handle.model.train()
    optimizer = recipe.optimizer([*model.parameters(), *handle.parameters()], recipe.learning_rate)
    if slots.machine_of(model) is not None:
        optimizer = slots.drive(optimizer, model)
    total = min(total, recipe.steps or total)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 1 / total, total)
    errors, steps, samples = [], 0, 0
    with bar(progress, title, total) as shown:
        for epoch in range(recipe.epochs):
            found = []
            for batch in islice(batches(epoch), total - steps):
                optimizer.zero_grad()
                now = loss(batch)
                now.backward()
                optimizer.step()
                schedule.step()
                found.append(now.item())
                samples += rows(batch)
                progress.advance(shown)
            if not found:
                break
            steps += len(found)
            errors.append(sum(found) / len(found))
            if not math.isfinite(errors[-1]):
                raise UserError(
                    f"the error of {title} is no finite number any more in epoch {epoch}: lower "
                    f"the learning rate, which is {recipe.learning_rate:g}"
                )
    model.eval()
    return Curve(tuple(errors), steps, samples)


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


@torch.no_grad()
def error(
    student: nn.Module, activations: Activations, distance: Distance, batch_size: int
) -> float:
    """Return a student's mean distance over a pass, samples weighed alike; it is in eval mode."""
    found = [
        (distance(call.of(student), call.output).item(), rows_of(call))
        for call in activations.batches(batch_size, 0)
    ]
    return sum(value * count for value, count in found) / sum(count for _, count in found)


def rows_of(call: Call) -> int:
    """Return how many samples a call has: rows of its output's first tensor."""
    first: Tensor = call.outputs[0]
    return len(first)
