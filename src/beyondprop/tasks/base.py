"""What a task is: data, a model, a loss and a metric, with the defaults of a run."""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import Parameter
from torch.optim import Adam, Optimizer

from beyondprop.errors import UserError
from beyondprop.tasks.metrics import Metric, accuracy
from beyondprop.tasks.samples import Data

Contrast = tuple[Any, Any]
"""What a model is called with (see `calling`), and the targets that go with it."""


def adam(parameters: Iterable[Parameter], learning_rate: float) -> Optimizer:
    """Adam with PyTorch's defaults, the optimizer of a task that names none."""
    return Adam(parameters, lr=learning_rate)


@dataclass(frozen=True)
class Task:
    """A data set, a model, a loss and a metric, with the defaults of a run.

    Attributes:
        name: Short name, also that of folders: letters, digits, ".", "_" and "-".
        summary: One line for lists.
        load: Gives the data; its argument is an explicit data folder or None.
        model: Builds a fresh model from torch's global generator. It is called with a batch's
            inputs: with a tensor, ``model(x)``; with a tuple or list, ``model(*x)``; with a
            mapping, ``model(**x)``.
        loss: (outputs, targets) to a scalar.
        metric: (outputs, targets) to the mean score, higher is better.
        metric_name: The metric's name in tables.
        blocks: Names or patterns of the model's blocks; None for the default of `attach`.
        epochs: Passes over the training part.
        batch_size: Samples per step.
        learning_rate: Of the optimizer at the start of a run; it falls linearly to zero.
        optimizer: (parameters, learning rate) to an optimizer; Adam unless given.
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
    loss: Callable[[Any, Any], Tensor] = F.cross_entropy
    metric: Metric = accuracy
    metric_name: str = "accuracy"
    blocks: Sequence[str] | None = None
    epochs: int = 10
    batch_size: int = 128
    learning_rate: float = 1e-3
    optimizer: Callable[[Iterable[Parameter], float], Optimizer] = adam
    augment: Callable[[Any], Any] | None = None
    contrast: Callable[[Any, Any], Contrast] | None = None

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
