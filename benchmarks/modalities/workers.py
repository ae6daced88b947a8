"""The speed-up of pre-training two modalities with two workers, compared with plain PyTorch.

    python -m benchmarks.modalities.workers

Each round alternates four ways: both sub-networks in one process and in two, and with plain PyTorch
in one process and in two independent ones. The start of Python is included. A round is cached as
soon as it finishes, so the same command continues after an interruption.
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
"""One per modality."""


def main(
    rounds: int = 5,
    epochs: int = 60,
    runs: Path = Path("runs/modalities"),
    output: Path = Path("results/modalities/workers.json"),
) -> None:
    """Time the training of sub-networks in one process and in two, and the same in plain PyTorch.

    Args:
        rounds: Rounds that alternate all ways.
        epochs: Passes of each sub-network over 2,048 pictures.
        runs: Folder that caches each round.
        output: The file of the record; the table is written next to it.
    """
    started = datetime.now(UTC)
    wanted = {
        f"round {n}": partial(beside_plain.one_round, WORK, n, JOBS, epochs) for n in range(rounds)
    }
    rows = list(cached_runs(runs / f"workers-{epochs}", wanted, 1).values())
    spec = {"rounds": rounds, "epochs": epochs}
    save("modalities/workers", spec, rows, table(rows), started, output)


def table(rows: list[Figures]) -> Table:
    """Return the table of the results."""
    title = f"Sub-networks of two modalities by {JOBS} processes"
    return beside_plain.table(rows, title, LIBRARY, "start-up and validation")


if __name__ == "__main__":
    command_line(main)
