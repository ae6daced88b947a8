"""Many runs in parallel processes, each cached in a file as soon as it is over."""

from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from beyondprop.errors import UserError
from beyondprop.files import read_json, write_json
from beyondprop.jobs.progress import bar, bars

Figures = dict[str, Any]


def cached_runs(
    folder: Path, jobs: Mapping[str, Callable[[], Figures]], workers: int
) -> dict[str, Figures]:
    """Return the figures of every job: from its file where it has one, else by running it.

    Args:
        folder: The cache; it has one file a job.
        jobs: What to run, by a name that also names the file; each must pickle.
        workers: Parallel processes.

    Raises:
        UserError: Some failed; all others are done and cached.
    """
    files = {name: folder / f"{file_name(name)}.json" for name in jobs}
    cached = {name: read_json(file) for name, file in files.items()}
    found = {name: figures for name, figures in cached.items() if figures is not None}
    failed: dict[str, BaseException] = {}
    with (
        bars() as progress,
        bar(progress, folder.name, len(jobs)) as shown,
        ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool,
    ):
        futures = {pool.submit(jobs[name]): name for name in jobs if name not in found}
        progress.update(shown, completed=len(found))
        for future in as_completed(futures):
            name, error = futures[future], future.exception()
            if error is None:
                found[name] = future.result()
                write_json(files[name], found[name])
            else:
                failed[name] = error
            progress.advance(shown)
    if failed:
        reasons = "; ".join(f"{name}: {error!r}" for name, error in failed.items())
        said = f"{len(failed)} of {len(jobs)} runs failed and are repeated next time ({reasons})"
        raise UserError(said) from next(iter(failed.values()))
    return {name: found[name] for name in jobs}


def file_name(name: str) -> str:
    """Return a job's name as that of a file."""
    return name.replace(",", "").replace(" ", "_").replace("/", "-")
