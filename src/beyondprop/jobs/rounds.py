"""Jobs that a pool runs in rounds: a round ends early if the pool breaks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from beyondprop.jobs.board import forget, reports
from beyondprop.jobs.job import Outcome
from beyondprop.jobs.packing import Packed
from beyondprop.jobs.place import ATTEMPTS, lost

Round = Callable[[Sequence[Packed]], Generator[Outcome, None, None]]
"""Yields outcomes in any order; raises if a worker dies, because the pool then loses its jobs."""


def in_rounds(jobs: Sequence[Packed], one_round: Round, board: Path) -> Iterator[Outcome]:
    """Yield the outcome of each job, and restart those that a broken pool lost.

    It is not known which job killed its worker, so all jobs that were running lose one attempt. The
    last attempt of a job runs alone, so that only a job that fails is given up.
    """
    left, deaths = {job.name: job for job in jobs}, Counter[str]()
    while left:
        sent = _next(left, deaths)
        with closing(one_round(sent)) as outcomes:
            for outcome in _unbroken(outcomes):
                del left[outcome.name]
                yield outcome
        lacking = [job.name for job in sent if job.name in left]  # the pool broke
        known = reports(board)
        begun = [name for name in lacking if name in known] or lacking
        deaths.update(begun)
        for name in begun:
            forget(board, name)
            if deaths[name] == ATTEMPTS:
                del left[name]
                yield lost(name)


def _unbroken(outcomes: Generator[Outcome, None, None]) -> Iterator[Outcome]:
    """Yield outcomes until the pool breaks."""
    while True:
        try:
            outcome = next(outcomes)
        except Exception:  # the end, or an error of the pool: a job's errors are outcomes
            return
        yield outcome


def _next(left: dict[str, Packed], deaths: Counter[str]) -> list[Packed]:
    """Return the jobs of the next round: all that may run together, otherwise a single one."""
    together = [job for name, job in left.items() if deaths[name] < ATTEMPTS - 1]
    return together or [next(iter(left.values()))]
