"""Trains a student alone on the teacher's activations, and heals an assembled model."""

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
        student: Takes the same arguments as the teacher's piece.
        activations: The activations of the neighbourhood.
        recipe: The training recipe.
        progress: Draws the progress bar.
        title: The title of the bar.

    Raises:
        UserError: The student's output does not have the teacher's form, or its error is no longer
            a number.
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
    """Train an assembled model end to end for a while, in place; leave it in eval mode.

    Args:
        model: The model, from `Library.merge`. Parameters that require gradients learn: all of
            them, unless only some of the teacher's parameters were frozen.
        data: Batches of (inputs, targets), with a length, that can be iterated repeatedly.
        loss: Maps (outputs, targets) to a scalar.
        recipe: The training recipe, with any rule; its batch size and its distance are not used.
        progress: Draws the progress bar; by default a new one on the terminal.
        output: The module whose output receives the error; see `beyondprop.attach`.
        axes: The meaning of the axes of the blocks' outputs; see `beyondprop.attach`.

    Raises:
        UserError: The rule can't teach the model, nothing in it learns, the data can't be iterated
            repeatedly, or the loss is no longer a number.
    """
    own = recipe or Recipe()
    length(data)
    if not learns(model):
        raise UserError("all of the model is frozen: call model.requires_grad_() before healing it")
    with ExitStack() as stack:
        shown = progress or stack.enter_context(bars())
        handle = stack.enter_context(taught(model, own, output, axes))
        return trained(ByLabels(handle, data, loss), own, shown, "healing")


@dataclass(frozen=True)
class ByTeacher(Course[Call]):
    """Training of a student to match the outputs of the teacher's piece.

    Attributes:
        handle: The attachment of the rule that trains the student.
        activations: The activations of the neighbourhood.
        recipe: Defines the distance to minimise, the batch size and the order of samples.
    """

    handle: Attachment
    activations: Activations
    recipe: Recipe

    @property
    def steps(self) -> int:
        """The number of batches of the activations."""
        return self.activations.steps(self.recipe.batch_size)

    def batches(self, epoch: int) -> Iterable[Call]:
        """Return calls; each epoch has its own order."""
        return self.activations.batches(self.recipe.batch_size, self.recipe.seed + epoch)

    def loss(self, batch: Call) -> Tensor:
        """Return the distance from the teacher's output."""
        with seen(self.handle, batch):
            return self.recipe.distance(batch.of(self.handle.model), batch.output)

    def rows(self, batch: Call) -> int:
        """Return the number of samples in the call."""
        return batch.rows


def seen(handle: Attachment, call: Call) -> AbstractContextManager[None]:
    """Return a context in which rules that need targets receive the teacher's output.

    Raises:
        UserError: A rule needs one tensor, but the output has several.
    """
    if not handle.needs_targets:
        return nullcontext()
    if len(call.outputs) > 1:
        raise UserError(
            f"a rule that needs targets needs one tensor, but the teacher's piece returns "
            f"{len(call.outputs)}: use a rule that needs only the error"
        )
    return handle.targets(call.outputs[0])


@unfused()
@torch.no_grad()
def error(
    student: nn.Module, activations: Activations, distance: Distance, batch_size: int
) -> float:
    """Return the mean distance over a pass of a student in eval mode, weighted by samples."""
    found = [
        (distance(call.of(student), call.output).item(), call.rows)
        for call in activations.batches(batch_size, 0)
    ]
    return sum(value * count for value, count in found) / sum(count for _, count in found)
