"""The executor of all independent jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any, Self

from rich.progress import Progress

from beyondprop.files import StorageError
from beyondprop.jobs.board import board_of, open_board, remove_board
from beyondprop.jobs.job import Job, Outcome, attempt
from beyondprop.jobs.packing import pack
from beyondprop.jobs.place import Place
from beyondprop.jobs.progress import bar
from beyondprop.jobs.view import teller, watched

LOG = "log.txt"
"""Log file in the folder of the work, with a line for each job and its time."""


class Executor:
    """Runs jobs in this process, or on the workers of a place.

    It is a context manager: workers start with the first job that needs them, and stop at its end.

    Args:
        folder: Folder of the work, in which workers report.
        progress: Progress bars to draw on.
        place: The workers; None for this process alone.
    """

    def __init__(self, folder: Path, progress: Progress, place: Place | None = None) -> None:
        self.folder, self.progress, self.place = folder, progress, place
        self._opened = ExitStack()
        self._board: Path | None = None
        self.tell = teller(progress, folder / LOG)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *problem: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the workers, if there are any; the next job starts them again."""
        self._opened.close()
        remove_board(board_of(self.folder))  # also one that workers of a killed process left
        self._board = None

    def perform(
        self, title: str, jobs: Sequence[Job], told: Callable[[Any], str] | None = None
    ) -> list[Outcome]:
        """Return the outcome of each job, in order; finished jobs are not repeated.

        If a job fails, the others continue.

        Args:
            title: Title of the progress bar.
            jobs: Independent jobs.
            told: Returns a line for a job's value, which is printed at the end of the job; nothing
                is printed if it is empty.

        Raises:
            StorageError: A file could not be written; the other jobs would fail, too.
            ValueError: Two jobs have the same name.
        """
        names = Counter(job.name for job in jobs)
        if twice := [name for name, count in names.items() if count > 1]:
            raise ValueError(f"two jobs have one name: {twice[0]}")
        earlier = {job.name: job.earlier() for job in jobs}
        done = {name: Outcome(name, value) for name, value in earlier.items() if value is not None}
        with bar(self.progress, title, len(jobs), len(done)) as shown:
            left = [job for job in jobs if job.name not in done]
            with closing(self._carried_out(left)) as outcomes:
                for outcome in outcomes:
                    if isinstance(outcome.error, StorageError):
                        raise outcome.error
                    done[outcome.name] = outcome
                    if said := line(outcome, told):
                        self.tell(said)
                    self.progress.advance(shown)
        return [done[job.name] for job in jobs]

    def _carried_out(self, jobs: Sequence[Job]) -> Generator[Outcome, None, None]:
        together = [job for job in jobs if not job.measures_time]
        alone = [job for job in jobs if job.measures_time]
        yield from self._here(together) if self.place is None else self._sent(together, self.place)
        if alone:
            self.close()
            yield from self._here(alone)

    def _here(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        with watched(self.progress):
            for job in jobs:
                yield attempt(job.name, partial(job.work, self.progress))

    def _sent(self, jobs: Sequence[Job], place: Place) -> Iterator[Outcome]:
        if not jobs:
            return
        packed = pack(jobs, self.folder)
        if self._board is None:
            self._opened.enter_context(place.opened())
            self._board = open_board(self.folder)
        with watched(self.progress, self._board):
            yield from place.carry_out(packed, self._board)


def line(outcome: Outcome, told: Callable[[Any], str] | None) -> str:
    """Return a job's outcome in one line."""
    if outcome.error is not None:
        return f"{outcome.name} failed: {outcome.error}"
    return f"{outcome.name} is done" if told is None else told(outcome.value)
