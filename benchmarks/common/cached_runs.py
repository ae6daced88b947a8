"""Many runs in parallel processes, each cached in a file as soon as it is over."""

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
    """Return the figures of every job: from its file where it has one, else by running it.

    Args:
        folder: The cache; it has one file a job.
        jobs: What to run, by a name that also names the file; each must pickle.
        workers: Parallel processes, each with one thread; one is this process.

    Raises:
        UserError: Some failed; all others are done and cached.
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
    """Return the figures of a run, and keep them."""
    figures = run()
    write_json(file, figures)
    return figures


def file_name(name: str) -> str:
    """Return a job's name as that of a file."""
    return name.replace(",", "").replace(" ", "_").replace("/", "-")
