"""Selection of networks, and interleaved timing with a progress bar."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Protocol, TypeVar

import torch

from beyondprop.errors import UserError
from beyondprop.jobs.progress import bar, bars
from beyondprop.measure import Case, StepTime
from beyondprop.measure.step_time import summarize, timed_rounds


class Named(Protocol):
    """A case that `--cases` selects by name."""

    @property
    def name(self) -> str: ...


Selected = TypeVar("Selected", bound=Named)


def select(cases: Sequence[Selected], patterns: Sequence[str]) -> list[Selected]:
    """Return the cases whose names match a pattern.

    Raises:
        UserError: A pattern matches no case.
    """
    for pattern in patterns:
        if not any(fnmatchcase(case.name, pattern) for case in cases):
            names = ", ".join(case.name for case in cases)
            raise UserError(f"no case is called '{pattern}'; there are {names}")
    return [case for case in cases if any(fnmatchcase(case.name, p) for p in patterns)]


def time_cases(name: str, cases: Sequence[Case], rounds: int, warmup: int) -> dict[str, StepTime]:
    """Return the time of a step of each case, interleaved, with a progress bar of this name."""
    seconds = []
    with bars() as progress, bar(progress, name, rounds) as shown:
        for taken in timed_rounds(cases, rounds, warmup):
            seconds.append(taken)
            progress.advance(shown)
    return summarize(cases, seconds)


def set_threads(threads: int | None) -> int:
    """Set the number of PyTorch's threads, its default if None, and return it."""
    torch.set_num_threads(threads or torch.get_num_threads())
    return torch.get_num_threads()
