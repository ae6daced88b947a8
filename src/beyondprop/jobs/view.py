"""One view over all workers: a bar for each job on a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.progress import Progress, TaskID

from beyondprop._torch.processes import leads
from beyondprop.files import append_text, check_worked_in
from beyondprop.jobs.board import SECONDS, reports

EVERY = 60.0
"""Seconds between two progress lines if there is no terminal."""

Key = tuple[str, int]


@contextmanager
def watched(progress: Progress, board: Path | None = None) -> Iterator[None]:
    """Show the progress of all jobs while they run, on workers and in this process."""
    over, bars = threading.Event(), dict[Key, TaskID]()

    def watch() -> None:
        said = time.monotonic()
        while not over.wait(SECONDS):
            if board is not None:
                mirror(progress, board, bars)
            if progress.disable and leads() and time.monotonic() - said > EVERY:
                said = time.monotonic()
                for line in standing(progress):
                    progress.console.print(line)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        for bar in bars.values():
            progress.remove_task(bar)


def mirror(progress: Progress, board: Path, bars: dict[Key, TaskID]) -> None:
    """Update this process's bars from the workers' reports."""
    lines = {
        (name, number): line
        for name, found in reports(board).items()
        for number, line in enumerate(found)
    }
    for key in bars.keys() - lines.keys():
        progress.remove_task(bars.pop(key))
    for key, line in lines.items():
        if key not in bars:
            bars[key] = progress.add_task(line.text, total=line.total)
        progress.update(bars[key], description=line.text, completed=line.completed)


def standing(progress: Progress) -> list[str]:
    """Return a line on the progress of each bar."""
    return [
        f"{task.description}: {task.completed:g} of {task.total:g}"
        for task in progress.tasks
        if task.total is not None
    ]


def teller(progress: Progress, log: Path) -> Callable[[str], None]:
    """Return a function that prints a line on the console and appends it to a log with its time."""

    def tell(line: str) -> None:
        progress.console.print(line)
        check_worked_in(log)
        log.parent.mkdir(parents=True, exist_ok=True)
        append_text(log, f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")

    return tell
