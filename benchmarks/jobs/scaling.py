"""What `compare --jobs` gains over one process, beside two processes of plain PyTorch.

    python -m benchmarks.jobs.scaling

In each round the four ways of working take turns: the comparison in one process and in several, and
plain PyTorch in one process and in several that know nothing of one another. The same networks are
trained in all; the start of Python is counted. A round is kept as soon as it is over, so the same
command goes on where one was stopped.
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
    """Time a comparison in one process and in several, and plain PyTorch likewise.

    Args:
        rounds: Turns of each way of working.
        jobs: Processes that work at once.
        repeats: Runs of the comparison, from seed 0 on, each a job; a multiple of the processes.
        epochs: Length of a run; with 600 it takes half a minute and more.
        runs: Folder that caches each round.
        output: Where the record goes; the table goes beside it.
    """
    if repeats % jobs:
        raise UserError(f"repeats must be a multiple of jobs, {jobs}, not {repeats}")
    started = datetime.now(UTC)
    wanted = {f"round {n}": partial(one_round, n, jobs, repeats, epochs) for n in range(rounds)}
    rows = list(cached_runs(runs / f"scaling-{jobs}-{repeats}-{epochs}", wanted, 1).values())
    spec = {"rounds": rounds, "jobs": jobs, "repeats": repeats, "epochs": epochs}
    save("jobs/scaling", spec, rows, table(rows, jobs, repeats), started, output)


def one_round(number: int, jobs: int, seeds: int, epochs: int) -> dict[str, Any]:
    """Return the seconds of each way, begun with another one each round, and of a run alone."""
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
    """Return the commands that train the same number of networks, spread over processes."""
    return [
        [
            *(sys.executable, "-c"),
            f"from benchmarks.jobs.plain import train; train({epochs}, {list(each)})",
        ]
        for each in (range(first, seeds, processes) for first in range(processes))
    ]


def same(serial: Path, parallel: Path) -> dict[str, Any]:
    """Return whether both ways left the same weights."""
    files = sorted(file.relative_to(serial) for file in serial.glob("runs/*/weights.safetensors"))
    return {
        "same_bytes": all((serial / f).read_bytes() == (parallel / f).read_bytes() for f in files)
    }


def gains(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return the medians over the rounds, a row for the library and one for plain PyTorch."""
    return [
        gain(rows, "beyondprop compare", "serial", "parallel"),
        gain(rows, "plain PyTorch, independent processes", "plain_serial", "plain_parallel"),
    ]


def table(rows: Sequence[Mapping[str, Any]], jobs: int, repeats: int) -> Table:
    """Return the medians over the rounds, and how they were taken."""
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
