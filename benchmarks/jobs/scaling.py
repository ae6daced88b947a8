"""The speed-up of `compare --jobs` over one process, compared with processes of plain PyTorch.

    python -m benchmarks.jobs.scaling

Each round alternates four ways: the comparison in one process and in several, and plain PyTorch in
one process and in several independent ones. All train the same networks; the start of Python is
included. A round is cached as soon as it finishes, so the same command continues after an
interruption.
"""

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.common.cached_runs import cached_runs
from benchmarks.common.command_line import command_line
from benchmarks.common.records import save
from benchmarks.common.several import gain, in_turns
from benchmarks.common.tables import Table
from benchmarks.jobs.plain import TASK
from beyondprop.errors import UserError
from beyondprop.tasks import find


def main(
    rounds: int = 7,
    jobs: int = 2,
    repeats: int = 4,
    epochs: int = 600,
    runs: Path = Path("runs/jobs"),
    output: Path = Path("results/jobs/scaling.json"),
) -> None:
    """Time a comparison in one process and in several, and the same in plain PyTorch.

    Args:
        rounds: Rounds that alternate all ways.
        jobs: The number of parallel processes.
        repeats: Runs of the comparison, from seed 0, one job each; a multiple of `jobs`.
        epochs: The length of a run; 600 epochs take at least half a minute.
        runs: Folder that caches each round.
        output: The file of the record; the table is written next to it.
    """
    if repeats % jobs:
        raise UserError(f"repeats must be a multiple of jobs, {jobs}, not {repeats}")
    started = datetime.now(UTC)
    wanted = {f"round {n}": partial(one_round, n, jobs, repeats, epochs) for n in range(rounds)}
    rows = list(cached_runs(runs / f"scaling-{jobs}-{repeats}-{epochs}", wanted, 1).values())
    spec = {"rounds": rounds, "jobs": jobs, "repeats": repeats, "epochs": epochs}
    save("jobs/scaling", spec, rows, table(rows, jobs, repeats), started, output)


def one_round(number: int, jobs: int, seeds: int, epochs: int) -> dict[str, Any]:
    """Return the seconds of each way, in rotating order by round, and of a single run."""
    with TemporaryDirectory() as folder:
        serial, parallel = Path(folder, "serial"), Path(folder, "parallel")
        ways = {
            "serial": [comparison(serial, 1, seeds, epochs)],
            "parallel": [comparison(parallel, jobs, seeds, epochs)],
            "plain_serial": plain(1, seeds, epochs),
            "plain_parallel": plain(jobs, seeds, epochs),
        }
        return {**in_turns(ways, number), **same(serial, parallel)}


def comparison(folder: Path, jobs: int, seeds: int, epochs: int) -> list[str]:
    """Return the command of a comparison that only trains."""
    rate = str(find(TASK).learning_rate)
    words = ["compare", "--task", TASK, "--rules", "backprop", "--learning_rates", rate]
    few = ["--measures", "[]", "--measure_cost", "false", "--output", str(folder)]
    length = [f"--epochs={epochs}", f"--jobs={jobs}", "--seeds", *map(str, range(seeds))]
    return [sys.executable, "-m", "beyondprop", *words, *few, *length]


def plain(processes: int, seeds: int, epochs: int) -> list[list[str]]:
    """Return the commands that train the same number of networks, divided among processes."""
    return [
        [
            *(sys.executable, "-c"),
            f"from benchmarks.jobs.plain import train; train({epochs}, {list(each)})",
        ]
        for each in (range(first, seeds, processes) for first in range(processes))
    ]


def same(serial: Path, parallel: Path) -> dict[str, Any]:
    """Return whether both ways produced the same weights."""
    files = sorted(file.relative_to(serial) for file in serial.glob("runs/*/weights.safetensors"))
    return {
        "same_bytes": all((serial / f).read_bytes() == (parallel / f).read_bytes() for f in files)
    }


def gains(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return the medians over the rounds: one row for the library and one for plain PyTorch."""
    return [
        gain(rows, "beyondprop compare", "serial", "parallel"),
        gain(rows, "plain PyTorch, independent processes", "plain_serial", "plain_parallel"),
    ]


def table(rows: Sequence[Mapping[str, Any]], jobs: int, repeats: int) -> Table:
    """Return the table of the medians over the rounds, with notes."""
    shortest = min(min(row["serial"], row["plain_serial"]) for row in rows) / repeats
    same_bytes = "the same bytes" if all(r["same_bytes"] for r in rows) else "DIFFERENT bytes"
    return Table(
        f"A comparison by {jobs} processes",
        ["training", "gain, all rounds", "one process", f"{jobs} processes", "gain"],
        gains(rows),
        [
            f"Medians of {len(rows)} rounds in which all four take turns; times include start-up. "
            f"A run takes at least {shortest:.0f} s, including its share of the start-up. Both "
            f"runs of the comparison produced {same_bytes} of weights."
        ],
    )


if __name__ == "__main__":
    command_line(main)
