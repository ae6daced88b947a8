"""What a task is: data, a model, a loss and a metric, with the defaults of a run."""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import Parameter
from torch.optim import Optimizer

from beyondprop.errors import UserError
from beyondprop.registry import Spec
from beyondprop.tasks.optimizers import ADAM

Contrast = tuple[tuple[Tensor, ...], Tensor]
"""What a model is called with, and the targets that go with it."""

Metric = Callable[[Tensor, Tensor], float]
"""Outputs and targets of n samples to their mean score; higher is better."""


def accuracy(outputs: Tensor, targets: Tensor) -> float:
    """Share of samples whose largest output is their class, in [0, 1].

    Args:
        outputs: Scores or logits, (n, classes).
        targets: Classes, (n,) int64.

    Raises:
        UserError: The shapes do not fit; they would otherwise broadcast to a wrong figure.
    """
    if outputs.ndim != 2 or targets.shape != outputs.shape[:1]:
        raise UserError(
            "accuracy needs outputs (n, classes) and targets (n,), "
            f"got {tuple(outputs.shape)} and {tuple(targets.shape)}; give the task its own metric"
        )
    return (outputs.argmax(dim=1) == targets).double().mean().item()


@dataclass(frozen=True)
class Split:
    """One part of a data set, in memory.

    Attributes:
        inputs: (n, ...).
        targets: (n,) int64 classes, or (n, ...) float.

    Raises:
        UserError: No samples, or not one target for each input.
    """

    inputs: Tensor
    targets: Tensor

    def __post_init__(self) -> None:
        if self.inputs.ndim == 0 or self.targets.shape[:1] != self.inputs.shape[:1]:
            raise UserError(
                "inputs and targets need the same first dimension, "
                f"got {tuple(self.inputs.shape)} and {tuple(self.targets.shape)}"
            )
        if not len(self):
            raise UserError(f"a split needs samples, got inputs {tuple(self.inputs.shape)}")

    def __len__(self) -> int:
        return self.inputs.shape[0]


@dataclass(frozen=True)
class Data:
    """A data set in its three parts.

    Attributes:
        name: As people know it, "scikit-learn digits".
        train: What the parameters are fitted to.
        validation: What choices (learning rate, rule) are made by.
        test: What the final score is measured on, once.
        classes: The classes' names in order; empty when it is no classification.

    Raises:
        UserError: The parts' inputs differ in shape, or a target is not one of the classes.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for part in ("validation", "test"):
            shape, expected = getattr(self, part).inputs.shape[1:], self.train.inputs.shape[1:]
            if shape != expected:
                raise UserError(
                    f"{self.name}: a {part} input has shape {tuple(shape)}, "
                    f"a training input {tuple(expected)}"
                )
        if not self.classes:
            return
        for part in ("train", "validation", "test"):
            targets = getattr(self, part).targets
            if targets.dtype != torch.int64 or targets.ndim != 1:
                raise UserError(
                    f"{self.name}: with classes, {part} targets must be (n,) int64, "
                    f"got {tuple(targets.shape)} {targets.dtype}"
                )
            low, high = int(targets.min()), int(targets.max())
            if low < 0 or high >= len(self.classes):
                raise UserError(
                    f"{self.name}: {part} targets run from {low} to {high}, "
                    f"but there are {len(self.classes)} classes"
                )


@dataclass(frozen=True)
class Task:
    """A data set, a model, a loss and a metric, with the defaults of a run.

    Attributes:
        name: Short name, also that of folders: letters, digits, ".", "_" and "-".
        summary: One line for lists.
        load: Gives the data; its argument is an explicit data folder or None.
        model: Builds a fresh model from torch's global generator.
        loss: (outputs, targets) to a scalar.
        metric: (outputs, targets) to the mean score, higher is better.
        metric_name: The metric's name in tables.
        blocks: Names or patterns of the model's blocks; None for the default of `attach`.
        epochs: Passes over the training part.
        batch_size: Samples per step.
        learning_rate: Of the optimizer at the start of a run; it falls linearly to zero.
        optimizer: (parameters, learning rate) to an optimizer; Adam unless given.
        optimizers: Names of those that a comparison tries for every rule, instead of that one; see
            `beyondprop.tasks.OPTIMIZERS`.
        augment: Training inputs to changed ones of the same kind, by PyTorch's global generator;
            applied to every training batch, never when scoring. None changes nothing.
        contrast: (inputs, targets) of a training batch to what the model is called with and the
            targets that go with it, by PyTorch's global generator: where rules learn by right and
            wrong answers, it makes the wrong ones. None calls the model with the inputs.

    Raises:
        UserError: Listing every field that makes no sense.
    """

    name: str
    summary: str
    load: Callable[[Path | None], Data]
    model: Callable[[], nn.Module]
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy
    metric: Metric = accuracy
    metric_name: str = "accuracy"
    blocks: Sequence[str] | None = None
    epochs: int = 10
    batch_size: int = 128
    learning_rate: float = 1e-3
    optimizer: Callable[[Iterable[Parameter], float], Optimizer] = ADAM
    optimizers: Sequence[Spec] = ()
    augment: Callable[[Tensor], Tensor] | None = None
    contrast: Callable[[Tensor, Tensor], Contrast] | None = None

    def __post_init__(self) -> None:
        optional = [f for f in ("augment", "contrast") if getattr(self, f) is not None]
        problems = [
            f"{field} must be callable"
            for field in ("load", "model", "loss", "metric", "optimizer", *optional)
            if not callable(getattr(self, field))
        ]
        problems += [
            f"{field} must be a whole number > 0"
            for field in ("epochs", "batch_size")
            if not _is_count(getattr(self, field))
        ]
        if isinstance(self.model, nn.Module):  # callable too, but every run needs a fresh one
            problems.append("model must be a function that builds the model, not a built model")
        if not re.fullmatch(r"[\w-][\w.-]*", self.name):
            problems.append("name may hold letters, digits, '.', '_' and '-' only")
        if not (self.learning_rate > 0 and math.isfinite(self.learning_rate)):
            problems.append("learning_rate must be a finite number > 0")
        if isinstance(self.blocks, str):  # a string is a sequence of one-letter strings
            problems.append(f"blocks must be a list of names: [{self.blocks!r}]")
        if problems:
            raise UserError(f"task {self.name!r}: {'; '.join(problems)}")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
