"""Many runs in parallel processes, each cached in a file as soon as it finishes."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from rich.progress import Progress

from beyondprop.files import read_json, write_json
from beyondprop.jobs import Executor, Job, Workers, places, values
from beyondprop.jobs.progress import bars

Figures = dict[str, Any]


def cached_runs(
    folder: Path, jobs: Mapping[str, Callable[[], Figures]], workers: int
) -> dict[str, Figures]:
    """Return the figures of every job, from its file if there is one, otherwise by running it.

    Args:
        folder: The cache, with one file per job.
        jobs: The jobs by name, which also names the file; each must be picklable.
        workers: Parallel processes, each with one thread; a single one is this process.

    Raises:
        UserError: Some jobs failed; all others are finished and cached.
    """
    files = {name: folder / f"{file_name(name)}.json" for name in jobs}
    wanted = [
        Job(name, partial(cached, run, files[name]), partial(read_json, files[name]))
        for name, run in jobs.items()
    ]
    chosen = Workers(jobs=workers)
    place = None if chosen.serial else places.find(chosen, threads=1)
    with bars() as progress, Executor(folder, progress, place) as executor:
        found = values(executor.perform(folder.name, wanted))
    return dict(zip(jobs, found, strict=True))


def cached(run: Callable[[], Figures], file: Path, _: Progress) -> Figures:
    """Return the figures of a run, and cache them."""
    figures = run()
    write_json(file, figures)
    return figures


def file_name(name: str) -> str:
    """Return a job's name as a file name."""
    return name.replace(",", "").replace(" ", "_").replace("/", "-")
