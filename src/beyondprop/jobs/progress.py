"""Progress bars on the terminal, with the current figures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from beyondprop._torch.processes import leads


def bars() -> Progress:
    """Return progress bars on standard error; without a terminal, only printed lines appear."""
    console = Console(stderr=True, highlight=False, markup=False)
    return Progress(
        TextColumn("{task.description:<48}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not (console.is_terminal and leads()),
        refresh_per_second=4,  # drawing takes time from training
    )


@contextmanager
def bar(progress: Progress, description: str, total: int, completed: int = 0) -> Iterator[TaskID]:
    """Yield an additional bar, which is removed at the end, also if the work fails."""
    task = progress.add_task(description, total=total, completed=completed)
    try:
        yield task
    finally:
        progress.remove_task(task)
