"""What a distillation gains by two workers, beside two processes of plain PyTorch.

    python -m benchmarks.neighbourhoods.workers

In each round four ways take turns: the students of a ResNet-20 by one process and by several, and
by plain PyTorch in one process and in several that know nothing of one another. The start of Python
is counted, and so is the teacher's pass. A round is kept as soon as it is over, so the same command
goes on where one was stopped.
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
from beyondprop.files import read_json

HEADS = ("training", "gain, all rounds", "one process", "several", "gain")


def main(
    rounds: int = 5,
    jobs: int = 2,
    epochs: int = 30,
    runs: Path = Path("runs/neighbourhoods"),
    output: Path = Path("results/neighbourhoods/workers.json"),
) -> None:
    """Time the training of students in one process and in several, and plain PyTorch likewise.

    Args:
        rounds: Turns of each way of working.
        jobs: Processes that work at once.
        epochs: Passes of each student over 1,024 images.
        runs: Folder that caches each round.
        output: Where the record goes; the table goes beside it.
    """
    started = datetime.now(UTC)
    wanted = {f"round {n}": partial(one_round, n, jobs, epochs) for n in range(rounds)}
    rows = list(cached_runs(runs / f"workers-{jobs}-{epochs}", wanted, 1).values())
    spec = {"rounds": rounds, "jobs": jobs, "epochs": epochs}
    save("neighbourhoods/workers", spec, rows, table(rows, jobs), started, output)


def one_round(number: int, jobs: int, epochs: int) -> dict[str, Any]:
    """Return the seconds of each way, and whether both left the same students."""
    with TemporaryDirectory() as folder:
        serial, parallel = Path(folder, "serial"), Path(folder, "parallel")
        plain = [word(epochs=epochs, first=first, step=jobs) for first in range(jobs)]
        ways = {
            "serial": [word(epochs=epochs, jobs=1, folder=serial)],
            "parallel": [word(epochs=epochs, jobs=jobs, folder=parallel)],
            "plain_serial": [word(epochs=epochs)],
            "plain_parallel": plain,
        }
        return {**in_turns(ways, number), "same": students(serial) == students(parallel)}


def word(**flags: Any) -> list[str]:
    """Return the command that trains students."""
    given = [f"--{name}={value}" for name, value in flags.items()]
    return [sys.executable, "-m", "benchmarks.neighbourhoods.pieces", *given]


def students(folder: Path) -> dict[str, Any]:
    """Return the digests of all students' weights."""
    found = {file: read_json(file) or {} for file in sorted(folder.glob("pieces/**/record.json"))}
    return {str(file.relative_to(folder)): each["weights_sha256"] for file, each in found.items()}


def gains(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return the medians over the rounds, a row for the library and one for plain PyTorch."""
    return [
        gain(rows, "beyondprop.neighbourhoods.distil", "serial", "parallel"),
        gain(rows, "plain PyTorch, independent processes", "plain_serial", "plain_parallel"),
    ]


def table(rows: Sequence[Mapping[str, Any]], jobs: int) -> Table:
    """Return the medians over the rounds, and how they were taken."""
    same = "the same bytes" if all(row["same"] for row in rows) else "DIFFERENT bytes"
    return Table(
        f"Students of a ResNet-20 by {jobs} processes",
        HEADS,
        gains(rows),
        [
            f"Medians of {len(rows)} rounds in which all four take turns; start-up and the "
            f"teacher's pass are counted. Both ways of the library left {same} of weights."
        ],
    )


if __name__ == "__main__":
    command_line(main)
