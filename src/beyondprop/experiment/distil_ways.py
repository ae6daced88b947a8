"""The ways in which a whole model is trained: from which weights, by what, at whose charge."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
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
from beyondprop.neighbourhoods import Call, DrawnInputs, Library, Recipe, SoftLabels
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
        extra: Operations of a sample besides the model's own step.
    """

    batches: LabelledBatches
    loss: Callable[[Any, Any], Tensor]
    extra: int = 0


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


def by_labels(setting: Setting) -> Lessons:
    """Return training by the task's own loss."""
    own = Batches(setting.data.train, setting.batch_size, setting.seed)
    return Lessons(own, setting.task.loss)


def by_teacher(setting: Setting) -> Lessons:
    """Return training by the teacher's outputs, on drawn inputs where inputs are drawn.

    Outputs are softened classes where there are classes.
    """
    targets = setting.data.train.batch(torch.arange(1))[1]
    distance = SoftLabels() if not targets.is_floating_point() else Recipe().distance
    data, size, seed = setting.data, setting.batch_size, setting.seed
    own: Batches | Noise = Batches(data.train, size, seed)
    if setting.drawn is not None:
        own = noise(setting.drawn, data, setting.teacher, size, seed)
    cost = forward_operations(setting.teacher, setting.sample)
    return Lessons(Taught(own, setting.teacher), distance, cost)


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
    """Return an assembly with random weights."""
    return drawn(joined(setting, library, choice))


def drawn(model: nn.Module) -> nn.Module:
    """Return a model whose weights are drawn anew, in place, by each layer's own way.

    Raises:
        UserError: A module has weights and no such way: they would stay what they were.
    """
    for name, module in model.named_modules():
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
        elif next(module.parameters(recurse=False), None) is not None:
            raise UserError(
                f"'{name}' ({type(module).__name__}) cannot be drawn anew for training from "
                "scratch: give it a method reset_parameters"
            )
    return model


@dataclass(frozen=True)
class Way:
    """How a whole model is trained.

    Attributes:
        name: As people read it.
        begin: Returns the model at its beginning.
        lessons: Returns what it is taught by.
        charge: What its operations are those of, by the names in `computation`.
        labelled: Whether it needs labels, which drawn inputs do not have.
    """

    name: str
    begin: Callable[[Setting, Library, Mapping[str, str]], nn.Module]
    lessons: Callable[[Setting], Lessons]
    charge: tuple[str, ...]
    labelled: bool = True


WAYS = (
    Way("healed", joined, by_labels, (HEALING,)),
    Way("end to end, whole", begun, by_teacher, (HEALING, CAPTURE, WHOLE), False),
    Way("end to end, shared", begun, by_teacher, (HEALING, CAPTURE, SHARED), False),
    Way("pruned", begun, by_labels, (HEALING, CAPTURE, SHARED)),
    Way("scratch", redrawn, by_labels, (HEALING, CAPTURE, SHARED)),
)
"""Healing, and what the same computation does otherwise."""
