"""Places: workers outside this process that run jobs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from beyondprop.errors import UserError, one_line
from beyondprop.jobs.job import Outcome
from beyondprop.jobs.packing import Packed

ATTEMPTS = 3
"""Maximum number of attempts for a job whose worker dies."""


class Place(ABC):
    """Workers that run jobs."""

    @abstractmethod
    def opened(self) -> AbstractContextManager[None]:
        """Start the workers, and stop them at the end in any case."""

    @abstractmethod
    def carry_out(self, jobs: Sequence[Packed], board: Path) -> Iterator[Outcome]:
        """Yield the outcome of each job, in the order in which they end.

        A job whose worker dies is started again, up to a total of `ATTEMPTS` times.
        """

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Return the description of the workers for a record."""


@contextmanager
def reached(address: str) -> Iterator[None]:
    """Report in one sentence if a cluster does not answer.

    Raises:
        UserError: The cluster does not answer.
    """
    try:
        yield
    except (OSError, TimeoutError) as error:
        raise UserError(
            f"the cluster {address} does not answer ({one_line(error)}); check that it is running, "
            "and add resume=True to keep finished work"
        ) from error


def lost(name: str) -> Outcome:
    """Return the outcome of a job whose worker died too often."""
    reason = f"its process died {ATTEMPTS} times (killed, or out of memory)"
    return Outcome(name, error=UserError(reason))
