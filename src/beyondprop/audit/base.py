"""What a section of the audit is: what it sees, and what it says."""

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
"""What a section says, as JSON values."""


@dataclass(frozen=True)
class Audited:
    """A trained model.

    Attributes:
        name: Of the rule that trained it, as tables show it.
        task: That it was trained on.
        data: As the seed has it.
        seed: Of the run, by which sections draw too.
        build: Returns the model as it was trained, each time another one: in eval mode, nothing
            attached.
        recipe: How it was trained, for sections that train again.
    """

    name: str
    task: Task
    data: Data
    seed: int
    build: Callable[[], nn.Module]
    recipe: Recipe = field(default_factory=Recipe)


class Section(ABC):
    """A question that the audit asks of a model.

    Attributes:
        name: Short name, for the command line.
        question: As the report asks it.
        packages: That it imports; the extra `audit` has them.
        columns: The figures of an answer that tables show, by their keys in it, with a dot before
            each deeper one.
    """

    name: ClassVar[str]
    question: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()
    columns: ClassVar[tuple[Column, ...]] = ()

    @abstractmethod
    def ask(self, audited: Audited, progress: Progress) -> Answer:
        """Return what is found of one model.

        The test split is what it is asked about; nothing is chosen by it.

        Raises:
            UserError: The model or the data allow no answer, with the reason.
        """

    def beside(self, audited: Audited, other: Audited) -> Answer:
        """Return what is found of two models of one task: of two rules and one seed, or of one rule
        and two seeds. By default there is nothing.
        """
        del audited, other
        return {}


def check_installed(section: Section) -> None:
    """Refuse a section whose packages are missing.

    Raises:
        UserError: Names the extra.
    """
    missing = [each for each in section.packages if find_spec(each) is None]
    if missing:
        raise UserError(f"'{section.name}' needs {', '.join(missing)}: {install('audit')}")


def classified(audited: Audited) -> None:
    """Refuse a model that tells no classes of one tensor each.

    Raises:
        UserError: Says what it is instead.
    """
    inputs, targets = audited.data.test.batch(torch.arange(1))
    if not isinstance(inputs, Tensor) or not inputs.is_floating_point():
        raise UserError(f"the inputs of {audited.task.name} are no tensor of real numbers")
    if not isinstance(targets, Tensor) or targets.dtype != torch.int64 or targets.dim() != 1:
        raise UserError(f"the targets of {audited.task.name} are no classes, (n,) int64")


def some(samples: Samples, count: int, seed: int) -> Samples:
    """Return so many samples, drawn by a seed; all of them where there are no more."""
    if count >= len(samples):
        return samples
    rows = torch.randperm(len(samples), generator=torch.Generator().manual_seed(seed))
    return samples.some(rows[:count].sort().values)
