"""A job, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.progress import Progress

from beyondprop.errors import FAULTS, UserError
from beyondprop.registry.dotted import one_line


def nothing() -> None:
    """Return None: of a job nothing is known from an earlier session."""


@dataclass(frozen=True)
class Job:
    """Independent work, which pickles where it is to leave this process.

    Attributes:
        name: As people read it, "dfa, seed 0"; no other job has it.
        work: Does it, shows on the given bars how it stands, and returns what came out. What is
            worth keeping it writes into files, atomically, so that a job that is begun again goes
            on or has nothing left to do.
        earlier: Returns what an earlier session made of it, or None where there is work to do.
        measures_time: Whether it must have the machine to itself: it runs in this process, after
            all others.
    """

    name: str
    work: Callable[[Progress], Any]
    earlier: Callable[[], Any] = nothing
    measures_time: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came of a job: a value, or why there is none.

    Attributes:
        name: The job's.
        value: What its work returned.
        error: In one sentence why it returned nothing.
    """

    name: str
    value: Any = None
    error: UserError | None = None


def attempt(name: str, work: Callable[[], Any]) -> Outcome:
    """Return what comes of a job's work, also where it fails."""
    try:
        return Outcome(name, work())
    except UserError as error:
        return Outcome(name, error=error)
    except FAULTS as error:  # whatever the work does wrong
        return Outcome(name, error=UserError(one_line(error)))


def values(outcomes: Sequence[Outcome]) -> list[Any]:
    """Return the values of jobs that must all have one.

    Raises:
        UserError: Some failed; it names each with its reason.
    """
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    if failed:
        reasons = "; ".join(f"{outcome.name}: {outcome.error}" for outcome in failed)
        said = f"{len(failed)} of {len(outcomes)} jobs failed and are repeated next time"
        raise UserError(f"{said} ({reasons})")
    return [outcome.value for outcome in outcomes]
