"""What a distillation gains by two workers, beside two processes of plain PyTorch.

    python -m benchmarks.neighbourhoods.workers

In each round four ways take turns: the students of a ResNet-20 by one process and by several, and
by plain PyTorch in one process and in several that know nothing of one another. The start of Python
is counted, and so is the teacher's pass. A round is kept as soon as it is over, so the same command
goes on where one was stopped.
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
    """Time the training of students in one process and in several, and plain PyTorch likewise.

    Args:
        rounds: Turns of each way of working.
        jobs: Processes that work at once.
        epochs: Passes of each student over 1,024 images.
        runs: Folder that caches each round.
        output: Where the record goes; the table goes beside it.
    """
    started = datetime.now(UTC)
    wanted = {
        f"round {n}": partial(beside_plain.one_round, WORK, n, jobs, epochs) for n in range(rounds)
    }
    rows = list(cached_runs(runs / f"workers-{jobs}-{epochs}", wanted, 1).values())
    spec = {"rounds": rounds, "jobs": jobs, "epochs": epochs}
    save("neighbourhoods/workers", spec, rows, table(rows, jobs), started, output)


def table(rows: list[Figures], jobs: int) -> Table:
    """Return the figures to read."""
    title = f"Students of a ResNet-20 by {jobs} processes"
    return beside_plain.table(rows, title, LIBRARY, "start-up and the teacher's pass")


if __name__ == "__main__":
    command_line(main)
