"""Where jobs are carried out, other than in this process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from beyondprop.errors import UserError
from beyondprop.jobs.job import Outcome
from beyondprop.jobs.packing import Packed
from beyondprop.registry.dotted import one_line

ATTEMPTS = 3
"""How often a job is begun whose worker dies."""


class Place(ABC):
    """Workers that carry out jobs."""

    @abstractmethod
    def opened(self) -> AbstractContextManager[None]:
        """Start the workers, and stop them at the end, whatever happens."""

    @abstractmethod
    def carry_out(self, jobs: Sequence[Packed], board: Path) -> Iterator[Outcome]:
        """Yield what comes of each job, in the order in which they end.

        A job whose worker dies is begun again, `ATTEMPTS` times in all.
        """

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Return what a record says of the workers."""


@contextmanager
def reached(address: str) -> Iterator[None]:
    """Say in one sentence that a cluster does not answer.

    Raises:
        UserError: It does not.
    """
    try:
        yield
    except (OSError, TimeoutError) as error:
        raise UserError(
            f"the cluster {address} does not answer ({one_line(error)}); check that it is running, "
            "and add resume=True to keep finished work"
        ) from error


def lost(name: str) -> Outcome:
    """Return what came of a job whose worker has died too often."""
    reason = f"its process died {ATTEMPTS} times (killed, or out of memory)"
    return Outcome(name, error=UserError(reason))
