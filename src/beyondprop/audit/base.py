"""The interface of an audit section: its input and its answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, ClassVar

import torch
from rich.progress import Progress
from torch import Tensor, nn

from beyondprop.errors import UserError, install
from beyondprop.measure import Column
from beyondprop.pieces.training import Recipe
from beyondprop.tasks import Data, Samples, Task

Answer = dict[str, Any]
"""The answer of a section, as JSON values."""


@dataclass(frozen=True)
class Audited:
    """A trained model and what is needed to audit it.

    Attributes:
        name: Name of the rule that trained the model, as tables show it.
        task: The task that the model was trained on.
        data: The data of the task for this seed.
        seed: Seed of the run; sections use it for their own draws too.
        build: Returns a new copy of the trained model on each call, in eval mode, with nothing
            attached.
        recipe: How the model was trained, for sections that train again.
    """

    name: str
    task: Task
    data: Data
    seed: int
    build: Callable[[], nn.Module]
    recipe: Recipe = field(default_factory=Recipe)


class Section(ABC):
    """A question that the audit answers for a model.

    Attributes:
        name: Short name, for the command line.
        question: The question as the report prints it.
        packages: Packages that the section imports; the extra `audit` installs them.
        columns: The figures of an answer that tables show. A key may contain dots, one for each
            nested level.
    """

    name: ClassVar[str]
    question: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()
    columns: ClassVar[tuple[Column, ...]] = ()

    @abstractmethod
    def ask(self, audited: Audited, progress: Progress) -> Answer:
        """Return the answer for one model.

        All figures refer to the test split, which is never used to choose anything.

        Raises:
            UserError: The model or the data do not allow an answer; the message gives the reason.
        """

    def beside(self, audited: Audited, other: Audited) -> Answer:
        """Return a comparison of two models of one task: two rules with one seed, or one rule with
        two seeds. The default is an empty answer.
        """
        del audited, other
        return {}


def check_installed(section: Section) -> None:
    """Raise if a package that the section requires is missing.

    Raises:
        UserError: Packages are missing; the message names the extra.
    """
    missing = [each for each in section.packages if find_spec(each) is None]
    if missing:
        raise UserError(f"'{section.name}' needs {', '.join(missing)}: {install('audit')}")


def classified(audited: Audited) -> None:
    """Raise unless the inputs are one tensor of real numbers and the targets are classes.

    Raises:
        UserError: They are not; the message names the problem.
    """
    inputs, targets = audited.data.test.batch(torch.arange(1))
    if not isinstance(inputs, Tensor) or not inputs.is_floating_point():
        raise UserError(f"the inputs of {audited.task.name} must be one tensor of real numbers")
    if not isinstance(targets, Tensor) or targets.dtype != torch.int64 or targets.dim() != 1:
        raise UserError(f"the targets of {audited.task.name} must be classes, (n,) int64")


def some(samples: Samples, count: int, seed: int) -> Samples:
    """Return `count` samples drawn at random with a seed, or all samples if there are fewer."""
    if count >= len(samples):
        return samples
    rows = torch.randperm(len(samples), generator=torch.Generator().manual_seed(seed))
    return samples.some(rows[:count].sort().values)
