"""The time of pieces until the score of end-to-end distillation, with one worker and with several.

    python -m benchmarks.neighbourhoods.wall_time runs/fashion-convnet --budget 0.65

It uses the folder of a finished distillation: its teachers, assemblies and learning rates. For each
seed, the library is trained again with one worker and with several, the assembly is healed, and the
same network is trained end to end, one after another on an idle machine. Evaluation is not timed.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.progress import Progress

from benchmarks.common.cached_runs import cached_runs
from benchmarks.common.command_line import command_line
from benchmarks.common.records import save
from benchmarks.common.tables import Table
from benchmarks.common.timing import set_threads
from benchmarks.neighbourhoods import tables
from beyondprop.errors import UserError
from beyondprop.experiment.distil_apart import library_of
from beyondprop.experiment.distil_attempts import Training
from beyondprop.experiment.distil_setting import Setting, setting_of
from beyondprop.experiment.distil_spec import DistilSpec
from beyondprop.experiment.distil_ways import WAYS
from beyondprop.experiment.distilling import DISTILLATION
from beyondprop.files import read_json
from beyondprop.jobs import Workers
from beyondprop.neighbourhoods import Library

HIDDEN = Progress(disable=True)
TIMED = ("healed", "end to end, shared", "end to end, whole")


def main(
    folder: Path,
    budget: float = 0.65,
    jobs: int = 2,
    runs: Path = Path("runs/neighbourhoods"),
    output: Path = Path("results/neighbourhoods/wall_time.json"),
) -> None:
    """Time the pieces of a finished distillation, and end-to-end training of the same network.

    Args:
        folder: The folder of the distillation.
        budget: One of its budgets.
        jobs: The number of workers that is compared with one.
        runs: Folder that caches each seed.
        output: The file of the record; the table is written next to it.
    """
    started = datetime.now(UTC)
    record = read_json(folder / DISTILLATION)
    if record is None:
        raise UserError(f"{folder} holds no finished distillation")
    spec = spec_of(record["spec"])
    wanted = {
        f"seed {seed['seed']}": partial(timed, spec, seed, folder, budget, jobs)
        for seed in record["seeds"]
    }
    rows = list(cached_runs(runs / f"wall_time-{folder.name}-{budget:g}", wanted, 1).values())
    asked = {"spec": record["spec"], "budget": budget, "jobs": jobs}
    save("neighbourhoods/wall_time", asked, rows, table(rows, jobs), started, output)


def spec_of(given: dict[str, Any]) -> DistilSpec:
    """Return the spec in a record, stored as JSON; the data are located again."""
    blocks = given["blocks"]
    read = {key: tuple(each) if isinstance(each, list) else each for key, each in given.items()}
    if blocks is not None:
        read["blocks"] = tuple(tuple(each) if isinstance(each, list) else each for each in blocks)
    return DistilSpec(**read | {"data": None})


def timed(
    spec: DistilSpec, seed: dict[str, Any], folder: Path, budget: float, jobs: int
) -> dict[str, Any]:
    """Return the seconds of one seed's library, healing and end-to-end training, with scores."""
    set_threads(spec.threads)
    (found,) = [each for each in seed["assemblies"] if each["budget"] == budget]
    if "failed" in found:
        raise UserError(f"seed {seed['seed']} has no assembly within {budget:g}: {found['failed']}")
    setting = setting_of(spec, seed["seed"], folder / f"seed-{seed['seed']}")
    seconds: dict[str, float] = {}
    for workers in (1, jobs):
        with TemporaryDirectory() as own:
            build = partial(library_of, setting, Path(own), HIDDEN, Workers(jobs=workers))
            library, seconds[f"library, {workers}"] = clock(build)
            for way in TIMED if workers == 1 else ():
                train = partial(trained, setting, library, found, way)
                _, seconds[way] = clock(train)
    return {
        "seed": seed["seed"],
        "budgets": len(spec.budgets),
        "seconds": seconds,
        "scores": {way: found["ways"][way]["score"] for way in ("merged", *TIMED)},
    }


def clock(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return the result of work, and its seconds."""
    begun = time.perf_counter()
    made = work()
    return made, time.perf_counter() - begun


def trained(setting: Setting, library: Library, found: dict[str, Any], name: str) -> None:
    """Train the assembly in one way, at the rate that was chosen for it."""
    (way,) = [each for each in WAYS if each.name == name]
    operations = sum(found["computation"][each] for each in way.charge)
    begin = partial(way.begin, setting, library, found["choice"])
    teach, rate = partial(way.lessons, setting), found["ways"][name]["rate"]
    Training(setting, begin, teach, "backprop", operations, rate).model(HIDDEN)


def table(rows: list[dict[str, Any]], jobs: int) -> Table:
    """Return the times, and the gain of pieces."""
    return Table(
        "Wall time of pieces and of end-to-end distillation to the same accuracy",
        *tables.wall_time(rows, jobs),
        notes=(
            "Pieces: training the library (shared: its share for one budget) and, if the merged "
            "network does not reach the score of end-to-end training, healing. Gain: the time of "
            "end-to-end training over the time of the pieces; – if the pieces do not reach its "
            "score. Both exclude evaluation and learning-rate searches.",
        ),
    )


if __name__ == "__main__":
    command_line(main)
