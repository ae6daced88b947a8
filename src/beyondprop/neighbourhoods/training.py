"""A student is trained alone, from the teacher's activations; what was put together is healed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from rich.progress import Progress
from torch import Tensor, nn

from beyondprop._torch.fused import unfused
from beyondprop.engine.attachment import Attachment
from beyondprop.errors import UserError
from beyondprop.jobs.progress import bars
from beyondprop.neighbourhoods.activations import Activations
from beyondprop.neighbourhoods.calls import Call
from beyondprop.pieces.data import length
from beyondprop.pieces.distances import Distance
from beyondprop.pieces.training import (
    ByLabels,
    Course,
    Curve,
    LabelledBatches,
    Recipe,
    learns,
    taught,
    trained,
)


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
            again and again, or the loss is no longer a number.
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
