"""The common setting of one seed's complete models: data, teacher, and evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from beyondprop import tasks
from beyondprop._torch.weights import WEIGHTS, read_weights
from beyondprop.experiment.assess import score
from beyondprop.experiment.distil_data import drawn_inputs, few
from beyondprop.experiment.distil_spec import DistilSpec
from beyondprop.experiment.setup import of_seed, read
from beyondprop.neighbourhoods import Call, DrawnInputs
from beyondprop.tasks import Data, Task

TEACHER_FOLDER = "teacher"


@dataclass(frozen=True)
class Setting:
    """The common setting of one seed's methods.

    Attributes:
        spec: The distillation's settings.
        task: The task.
        data: This seed's data, with the training samples that students may use.
        drawn: How inputs are drawn; None if students learn from the training samples.
        seed: Random seed of the teacher and of all training.
        teacher: The teacher, in eval mode.
    """

    spec: DistilSpec
    task: Task
    data: Data
    drawn: DrawnInputs | None
    seed: int
    teacher: nn.Module

    @property
    def batch_size(self) -> int:
        """Samples per step."""
        return self.spec.batch_size or self.task.batch_size

    @property
    def samples(self) -> int:
        """Samples in one training pass of a complete model."""
        return len(self.data.train) if self.drawn is None else self.drawn.samples

    @property
    def sample(self) -> Call:
        """The complete model's call with one sample, without its output."""
        inputs, _ = self.data.train.batch(torch.arange(1))
        arguments, keywords = tasks.arguments_of(inputs)
        return Call(arguments, keywords, None, 1)

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
    """Return the setting of a seed with its trained teacher.

    Args:
        spec: The distillation's settings.
        seed: Random seed of the teacher.
        folder: The seed's folder.
    """
    task = tasks.find(spec.task)
    data = of_seed(task, read(task, spec.data), seed)
    teacher = task.model()
    teacher.load_state_dict(read_weights(folder / TEACHER_FOLDER / WEIGHTS))
    seen, drawing = few(spec, data, seed), drawn_inputs(spec, data)
    return Setting(spec, task, seen, drawing, seed, teacher.eval())


def blocks_of(task: Task) -> tuple[str | tuple[str, ...], ...] | None:
    """Return the blocks of a task's model; None if the task names none."""
    if task.blocks is None:
        return None
    return tuple(each if isinstance(each, str) else tuple(each) for each in task.blocks)
