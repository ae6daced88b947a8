"""What pre-training of two modalities gains by two workers, beside two processes of plain PyTorch.

    python -m benchmarks.modalities.workers

In each round four ways take turns: both sub-networks by one process and by two, and by plain
PyTorch in one process and in two that know nothing of one another. The start of Python is counted.
A round is kept as soon as it is over, so the same command goes on where one was stopped.
"""

from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from benchmarks.common import beside_plain
from benchmarks.common.cached_runs import Figures, cached_runs
from benchmarks.common.command_line import command_line
from benchmarks.common.records import save
from benchmarks.common.tables import Table

WORK = "benchmarks.modalities.alone"
LIBRARY = "beyondprop.modalities.pretrain"
JOBS = 2
"""One a modality."""


def main(
    rounds: int = 5,
    epochs: int = 60,
    runs: Path = Path("runs/modalities"),
    output: Path = Path("results/modalities/workers.json"),
) -> None:
    """Time the training of sub-networks in one process and in two, and plain PyTorch likewise.

    Args:
        rounds: Turns of each way of working.
        epochs: Passes of each sub-network over 2,048 pictures.
        runs: Folder that caches each round.
        output: Where the record goes; the table goes beside it.
    """
    started = datetime.now(UTC)
    wanted = {
        f"round {n}": partial(beside_plain.one_round, WORK, n, JOBS, epochs) for n in range(rounds)
    }
    rows = list(cached_runs(runs / f"workers-{epochs}", wanted, 1).values())
    spec = {"rounds": rounds, "epochs": epochs}
    save("modalities/workers", spec, rows, table(rows), started, output)


def table(rows: list[Figures]) -> Table:
    """Return the figures to read."""
    title = f"Sub-networks of two modalities by {JOBS} processes"
    return beside_plain.table(rows, title, LIBRARY, "start-up and validation")


if __name__ == "__main__":
    command_line(main)
