"""The ways in which a whole model is trained: from which weights, by what, at whose charge."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from beyondprop import tasks
from beyondprop._torch.weights import WEIGHTS, read_weights
from beyondprop.errors import UserError
from beyondprop.experiment.assess import score
from beyondprop.experiment.distil_data import Noise, drawn_inputs, few, noise
from beyondprop.experiment.distil_spec import DistilSpec
from beyondprop.experiment.order import order
from beyondprop.neighbourhoods import Call, Distance, DrawnInputs, Library, Recipe, SoftLabels
from beyondprop.neighbourhoods.cost import forward_operations
from beyondprop.neighbourhoods.training import LabelledBatches
from beyondprop.tasks import Data, Samples, Task

TEACHER_FOLDER = "teacher"
CAPTURE, HEALING, WHOLE, SHARED = "capture", "healing", "whole", "shared"
"""What operations are counted for. A library that serves several budgets is charged to one of them
whole, or shared among all."""


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
        for rows in self.rows():
            yield self.samples.batch(rows)

    def rows(self) -> Iterator[Tensor]:
        """Yield the rows of each batch of a pass."""
        whole = order(self.seed, self.passes, len(self.samples))
        self.passes += 1
        yield from whole.split(self.size)


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
    """

    spec: DistilSpec
    task: Task
    data: Data
    drawn: DrawnInputs | None
    seed: int
    teacher: nn.Module

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


def setting_of(spec: DistilSpec, seed: int, folder: Path) -> Setting:
    """Return the setting of a seed whose teacher is trained.

    Args:
        spec: The distillation's.
        seed: Of the teacher.
        folder: Of the seed.
    """
    task = tasks.find(spec.task)
    data = task.load(spec.data)
    data = task.split(data, seed) if task.split else data
    teacher = task.model()
    teacher.load_state_dict(read_weights(folder / TEACHER_FOLDER / WEIGHTS))
    seen, drawing = few(spec, data, seed), drawn_inputs(spec, data)
    return Setting(spec, task, seen, drawing, seed, teacher.eval())


def blocks_of(task: Task) -> tuple[str | tuple[str, ...], ...] | None:
    """Return the blocks of a task's model, None where it names none."""
    if task.blocks is None:
        return None
    return tuple(each if isinstance(each, str) else tuple(each) for each in task.blocks)


@dataclass(frozen=True)
class Lessons:
    """What a whole model is taught by.

    Attributes:
        batches: Of inputs and targets.
        loss: (outputs, targets) to a scalar.
        before: Operations before the first step.
        extra: Operations of a sample besides the model's own step.
    """

    batches: LabelledBatches
    loss: Callable[[Any, Any], Tensor]
    before: int = 0
    extra: int = 0


@dataclass(frozen=True)
class Taught:
    """Batches whose targets are the teacher's outputs, and the labels.

    Attributes:
        batches: Of training samples.
        outputs: The teacher's, of all samples in their order.
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
    """Batches of drawn inputs, whose targets are the teacher's outputs."""

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
            f"the network returns {type(outputs).__name__}, and training end to end takes one "
            "tensor: let the task's model return one"
        )
    return outputs


@dataclass(frozen=True)
class Mixed:
    """The mean of the distance from the teacher's softened classes and of the labels' loss.

    Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network", arXiv 1503.02531,
    section 2: with labels both are used.
    """

    distance: Distance
    loss: Callable[[Any, Any], Tensor]

    def __call__(self, outputs: Any, targets: tuple[Tensor, Any]) -> Tensor:
        """Return the mean of both."""
        teacher, labels = targets
        return (self.distance(outputs, teacher) + self.loss(outputs, labels)) / 2


@dataclass(frozen=True)
class FirstOf:
    """A distance from the teacher's outputs alone."""

    distance: Distance

    def __call__(self, outputs: Any, targets: tuple[Tensor, Any]) -> Tensor:
        """Return it; labels are not looked at."""
        return self.distance(outputs, targets[0])


def by_labels(setting: Setting) -> Lessons:
    """Return training by the task's own loss."""
    own = Batches(setting.data.train, setting.batch_size, setting.seed)
    return Lessons(own, setting.task.loss)


def by_teacher(setting: Setting) -> Lessons:
    """Return training by the teacher's outputs, and by the labels where these are classes.

    The teacher's outputs are computed once, for all passes.
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
    """Return training by the teacher's outputs on drawn inputs, which are others in each pass."""
    own = noise(drawn, setting.data, setting.teacher, setting.batch_size, setting.seed)
    extra = forward_operations(setting.teacher, setting.sample)
    return Lessons(TaughtByNoise(own, setting.teacher), distance_of(setting), extra=extra)


def end_to_end(setting: Setting) -> Lessons:
    """Return training by the teacher: on drawn inputs, or on the training samples."""
    return by_teacher(setting) if setting.drawn is None else by_noise(setting, setting.drawn)


def distance_of(setting: Setting) -> Distance:
    """Return how far outputs are from the teacher's: softened classes where there are classes."""
    targets = setting.data.train.batch(torch.arange(1))[1]
    return SoftLabels() if not targets.is_floating_point() else Recipe().distance


def joined(setting: Setting, library: Library, choice: Mapping[str, str]) -> nn.Module:
    """Return an assembly of trained students."""
    return library.merge(setting.teacher, choice)


def begun(setting: Setting, library: Library, choice: Mapping[str, str]) -> nn.Module:
    """Return an assembly with the weights with which its students began."""
    teacher = setting.teacher
    model = library.merge(teacher, {})
    for each in library.neighbourhoods:
        if each.name in choice:
            student = library.students[each.name][choice[each.name]]
            piece = student.candidate.build(each.piece(teacher), library.samples[each.name])
            each.put(model, piece)
    return model


def redrawn(setting: Setting, library: Library, choice: Mapping[str, str]) -> nn.Module:
    """Return an assembly with random weights: that of a model as the task makes it."""
    return begun(replace(setting, teacher=setting.task.model().eval()), library, choice)


@dataclass(frozen=True)
class Way:
    """How a whole model is trained.

    Attributes:
        name: As people read it.
        begin: Returns the model at its beginning.
        lessons: Returns what it is taught by.
        charge: What its operations are those of, by the names in `computation`.
        labelled: Whether it needs labels, which drawn inputs do not have.
        ruled: Whether the spec's rule trains it; backprop trains the others.
    """

    name: str
    begin: Callable[[Setting, Library, Mapping[str, str]], nn.Module]
    lessons: Callable[[Setting], Lessons]
    charge: tuple[str, ...]
    labelled: bool = True
    ruled: bool = False


WAYS = (
    Way("healed", joined, by_labels, (HEALING,), ruled=True),
    Way("end to end, whole", begun, end_to_end, (HEALING, CAPTURE, WHOLE), labelled=False),
    Way("end to end, shared", begun, end_to_end, (HEALING, CAPTURE, SHARED), labelled=False),
    Way("pruned", begun, by_labels, (HEALING, CAPTURE, SHARED)),
    Way("scratch", redrawn, by_labels, (HEALING, CAPTURE, SHARED)),
)
"""Healing, and what the same computation does otherwise."""
