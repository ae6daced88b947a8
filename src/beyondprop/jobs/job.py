"""Jobs and their outcomes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.progress import Progress

from beyondprop.errors import FAULTS, UserError, one_line


def nothing() -> None:
    """Return None: there is no result of an earlier session."""


@dataclass(frozen=True)
class Job:
    """Independent work, which must be picklable to run in another process.

    Attributes:
        name: Unique display name, such as "dfa, seed 0".
        work: Does the work, shows its progress on the given bars, and returns the result. It writes
            results into files atomically, so that a restarted job continues or has nothing left to
            do.
        earlier: Returns the result of an earlier session, or None if there is work to do.
        measures_time: Whether nothing else may run on the machine. Such a job runs in this process,
            after all others.
    """

    name: str
    work: Callable[[Progress], Any]
    earlier: Callable[[], Any] = nothing
    measures_time: bool = False


@dataclass(frozen=True)
class Outcome:
    """The outcome of a job: a value, or why there is none.

    Attributes:
        name: Name of the job.
        value: Return value of its work.
        error: Error that states in one sentence why there is no value.
    """

    name: str
    value: Any = None
    error: UserError | None = None


def attempt(name: str, work: Callable[[], Any]) -> Outcome:
    """Return the outcome of a job's work, also if it fails."""
    try:
        return Outcome(name, work())
    except UserError as error:
        return Outcome(name, error=error)
    except FAULTS as error:  # any error of the work
        return Outcome(name, error=UserError(one_line(error)))


def values(outcomes: Sequence[Outcome]) -> list[Any]:
    """Return the values of jobs, all of which must have succeeded.

    Raises:
        UserError: Some jobs failed; the message names each with its reason.
    """
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    if failed:
        reasons = "; ".join(f"{outcome.name}: {outcome.error}" for outcome in failed)
        said = f"{len(failed)} of {len(outcomes)} jobs failed and are repeated next time"
        raise UserError(f"{said} ({reasons})")
    return [outcome.value for outcome in outcomes]
