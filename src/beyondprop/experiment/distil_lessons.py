"""Training signals for complete models: labels, the teacher, or the teacher on drawn inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from beyondprop import tasks
from beyondprop.errors import UserError
from beyondprop.experiment.distil_data import Noise, noise
from beyondprop.experiment.distil_setting import Setting
from beyondprop.neighbourhoods import Distance, DrawnInputs, Recipe, SoftLabels
from beyondprop.neighbourhoods.cost import forward_operations
from beyondprop.pieces.data import sizes
from beyondprop.pieces.training import LabelledBatches
from beyondprop.tasks import Samples
from beyondprop.tasks.order import order


@dataclass
class Batches:
    """Training batches, in another order in each pass, the same for all methods of a seed.

    Attributes:
        samples: The training samples.
        size: Samples per batch.
        seed: Random seed of the orders.
        passes: Number of passes started.
    """

    samples: Samples
    size: int
    seed: int
    passes: int = 0

    def __len__(self) -> int:
        return -(-len(self.samples) // self.size)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        for rows in self.rows():
            yield self.samples.batch(rows)

    def rows(self) -> Iterator[Tensor]:
        """Yield the rows of each batch of a pass."""
        whole = order(self.seed, self.passes, len(self.samples))
        self.passes += 1
        yield from whole.split(sizes(len(whole), self.size))


@dataclass(frozen=True)
class Lessons:
    """The training signal of a complete model.

    Attributes:
        batches: Batches of inputs and targets.
        loss: Function of (outputs, targets) that returns a scalar.
        before: Operations before the first step.
        extra: Operations per sample in addition to the model's step.
    """

    batches: LabelledBatches
    loss: Callable[[Any, Any], Tensor]
    before: int = 0
    extra: int = 0


@dataclass(frozen=True)
class Taught:
    """Batches whose targets are the teacher's outputs and the labels.

    Attributes:
        batches: Batches of training samples.
        outputs: The teacher's outputs for all samples, in order.
    """

    batches: Batches
    outputs: Tensor

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[tuple[Any, tuple[Tensor, Any]]]:
        for rows in self.batches.rows():
            inputs, labels = self.batches.samples.batch(rows)
            yield inputs, (self.outputs[rows], labels)


@dataclass(frozen=True)
class TaughtByNoise:
    """Batches of drawn inputs whose targets are the teacher's outputs."""

    batches: Noise
    teacher: nn.Module

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[tuple[Any, Tensor]]:
        for inputs, _ in self.batches:
            yield inputs, outputs_of(self.teacher, inputs)


@torch.no_grad()
def outputs_of(teacher: nn.Module, inputs: Any) -> Tensor:
    """Return the teacher's outputs.

    Raises:
        UserError: They are not one tensor.
    """
    outputs = tasks.call(teacher, inputs)
    if not isinstance(outputs, Tensor):
        raise UserError(
            f"the network returns {type(outputs).__name__}, but training end to end requires one "
            "tensor: let the task's model return one"
        )
    return outputs


@dataclass(frozen=True)
class Mixed:
    """The mean of the distance to the teacher's softened classes and the loss on the labels.

    Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network", arXiv 1503.02531,
    section 2: both terms are used if there are labels.
    """

    distance: Distance
    loss: Callable[[Any, Any], Tensor]

    def __call__(self, outputs: Any, targets: tuple[Tensor, Any]) -> Tensor:
        """Return the mean of both."""
        teacher, labels = targets
        return (self.distance(outputs, teacher) + self.loss(outputs, labels)) / 2


@dataclass(frozen=True)
class FirstOf:
    """The distance to the teacher's outputs alone."""

    distance: Distance

    def __call__(self, outputs: Any, targets: tuple[Tensor, Any]) -> Tensor:
        """Return the distance; labels are ignored."""
        return self.distance(outputs, targets[0])


def by_labels(setting: Setting) -> Lessons:
    """Return training with the task's loss."""
    own = Batches(setting.data.train, setting.batch_size, setting.seed)
    return Lessons(own, setting.task.loss)


def by_teacher(setting: Setting) -> Lessons:
    """Return training with the teacher's outputs, and with the labels if these are classes.

    The teacher's outputs are computed once for all passes.
    """
    own = Batches(setting.data.train, setting.batch_size, setting.seed)
    parts = setting.data.train.batches(setting.batch_size)
    outputs = torch.cat([outputs_of(setting.teacher, inputs) for inputs, _ in parts])
    before = len(outputs) * forward_operations(setting.teacher, setting.sample)
    distance = distance_of(setting)
    soft = isinstance(distance, SoftLabels)
    loss = Mixed(distance, setting.task.loss) if soft else FirstOf(distance)
    return Lessons(Taught(own, outputs), loss, before)


def by_noise(setting: Setting, drawn: DrawnInputs) -> Lessons:
    """Return training with the teacher's outputs on inputs that are drawn again in each pass."""
    own = noise(drawn, setting.data, setting.teacher, setting.batch_size, setting.seed)
    extra = forward_operations(setting.teacher, setting.sample)
    return Lessons(TaughtByNoise(own, setting.teacher), distance_of(setting), extra=extra)


def end_to_end(setting: Setting) -> Lessons:
    """Return training with the teacher's outputs on drawn inputs or on the training samples."""
    return by_teacher(setting) if setting.drawn is None else by_noise(setting, setting.drawn)


def distance_of(setting: Setting) -> Distance:
    """Return the distance to the teacher's outputs: softened classes for classification."""
    targets = setting.data.train.batch(torch.arange(1))[1]
    return SoftLabels() if not targets.is_floating_point() else Recipe().distance
