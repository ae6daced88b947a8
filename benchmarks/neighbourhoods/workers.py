"""The speed-up of a distillation with two workers, compared with two processes of plain PyTorch.

    python -m benchmarks.neighbourhoods.workers

Each round alternates four ways: the students of a ResNet-20 in one process and in several, and with
plain PyTorch in one process and in several independent ones. The start of Python and the teacher's
pass are included. A round is cached as soon as it finishes, so the same command continues after an
interruption.
"""

from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from benchmarks.common import beside_plain
from benchmarks.common.cached_runs import Figures, cached_runs
from benchmarks.common.command_line import command_line
from benchmarks.common.records import save
from benchmarks.common.tables import Table

WORK = "benchmarks.neighbourhoods.pieces"
LIBRARY = "beyondprop.neighbourhoods.distil"


def main(
    rounds: int = 5,
    jobs: int = 2,
    epochs: int = 30,
    runs: Path = Path("runs/neighbourhoods"),
    output: Path = Path("results/neighbourhoods/workers.json"),
) -> None:
    """Time the training of students in one process and in several, and the same in plain PyTorch.

    Args:
        rounds: Rounds that alternate all ways.
        jobs: The number of parallel processes.
        epochs: Passes of each student over 1,024 images.
        runs: Folder that caches each round.
        output: The file of the record; the table is written next to it.
    """
    started = datetime.now(UTC)
    wanted = {
        f"round {n}": partial(beside_plain.one_round, WORK, n, jobs, epochs) for n in range(rounds)
    }
    rows = list(cached_runs(runs / f"workers-{jobs}-{epochs}", wanted, 1).values())
    spec = {"rounds": rounds, "jobs": jobs, "epochs": epochs}
    save("neighbourhoods/workers", spec, rows, table(rows, jobs), started, output)


def table(rows: list[Figures], jobs: int) -> Table:
    """Return the table of the results."""
    title = f"Students of a ResNet-20 by {jobs} processes"
    return beside_plain.table(rows, title, LIBRARY, "start-up and the teacher's pass")


if __name__ == "__main__":
    command_line(main)
