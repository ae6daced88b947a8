"""Boards on which workers report their jobs' progress: one small file for each job, in a folder
that all of them see."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from rich.progress import Progress

from beyondprop.files import StorageError, cannot, check_worked_in
from beyondprop.registry import file_name

SECONDS = 0.5
"""Seconds between two reports."""


class Line(NamedTuple):
    """One progress bar of a worker."""

    text: str
    completed: float
    total: float | None


def board_of(folder: Path) -> Path:
    """Return the path of a folder's board."""
    return folder.absolute() / ".jobs"


def open_board(folder: Path) -> Path:
    """Return an empty board in this folder.

    Raises:
        StorageError: The board cannot be made.
    """
    board = board_of(folder)
    remove_board(board)
    check_worked_in(board)
    try:
        board.mkdir(parents=True)
    except OSError as error:
        raise cannot("write", board, error) from None
    return board


def remove_board(board: Path) -> None:
    """Remove a board with all reports, unless other processes have taken over the folder."""
    with suppress(StorageError):
        check_worked_in(board)
        shutil.rmtree(board, ignore_errors=True)


def reports(board: Path) -> dict[str, list[Line]]:
    """Return the progress of each running job by name."""
    found = {}
    for file in board.glob("*.json"):
        with suppress(OSError, ValueError):  # it has just ended
            report = json.loads(file.read_text("utf-8"))
            found[report["name"]] = [Line(*line) for line in report["lines"]]
    return found


def forget(board: Path, name: str) -> None:
    """Remove a job from the board."""
    _file(board, name).unlink(missing_ok=True)


@contextmanager
def reporting(board: Path, name: str, progress: Progress) -> Iterator[None]:
    """Report a job on the board while it runs, with its progress bars."""
    over = threading.Event()

    def report() -> None:
        known: list[Line] | None = None
        while not over.is_set():
            lines = [Line(t.description, t.completed, t.total) for t in progress.tasks]
            if lines != known:
                known = lines
                _write(board, name, lines)
            over.wait(SECONDS)

    _write(board, name, [])  # so that the job of a worker that dies immediately is known
    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        forget(board, name)


def _write(board: Path, name: str, lines: list[Line]) -> None:
    """Write a report without waiting for the disk; an error does not fail the job."""
    aside = board / f".{os.getpid()}"
    with suppress(OSError):
        aside.write_text(json.dumps({"name": name, "lines": lines}), "utf-8")
        aside.replace(_file(board, name))


def _file(board: Path, name: str) -> Path:
    return board / f"{file_name(name)}.json"
