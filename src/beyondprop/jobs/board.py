"""Where workers report how their jobs stand: one small file a job, in a folder that all see."""

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
"""Between two reports."""


class Line(NamedTuple):
    """One bar of a worker's."""

    text: str
    completed: float
    total: float | None


def board_of(folder: Path) -> Path:
    """Return where the board of a folder's work is."""
    return folder.absolute() / ".jobs"


def open_board(folder: Path) -> Path:
    """Return an empty board in this folder.

    Raises:
        StorageError: It cannot be made.
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
    """Remove a board with all reports, but for one that belongs to others by now."""
    with suppress(StorageError):
        check_worked_in(board)
        shutil.rmtree(board, ignore_errors=True)


def reports(board: Path) -> dict[str, list[Line]]:
    """Return how each job stands that a worker has begun and not ended, by its name."""
    found = {}
    for file in board.glob("*.json"):
        with suppress(OSError, ValueError):  # it has just ended
            report = json.loads(file.read_text("utf-8"))
            found[report["name"]] = [Line(*line) for line in report["lines"]]
    return found


def forget(board: Path, name: str) -> None:
    """Take a job off the board whose worker is gone."""
    _file(board, name).unlink(missing_ok=True)


@contextmanager
def reporting(board: Path, name: str, progress: Progress) -> Iterator[None]:
    """Keep a job on the board while it runs, with the bars of its progress."""
    over = threading.Event()

    def report() -> None:
        known: list[Line] | None = None
        while not over.is_set():
            lines = [Line(t.description, t.completed, t.total) for t in progress.tasks]
            if lines != known:
                known = lines
                _write(board, name, lines)
            over.wait(SECONDS)

    _write(board, name, [])  # so that a worker which dies at once is known to have had the job
    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        forget(board, name)


def _write(board: Path, name: str, lines: list[Line]) -> None:
    """Write a report; it is not worth waiting for the disk, nor a failure of the job."""
    aside = board / f".{os.getpid()}"
    with suppress(OSError):
        aside.write_text(json.dumps({"name": name, "lines": lines}), "utf-8")
        aside.replace(_file(board, name))


def _file(board: Path, name: str) -> Path:
    return board / f"{file_name(name)}.json"
