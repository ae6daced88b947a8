"""The speed-up of the library by several processes, compared with plain PyTorch, in rounds.

The work is a module that trains the same networks in two ways: with the library if it is called
with ``--folder`` and ``--jobs``, otherwise with plain PyTorch, every ``--step``-th network from
``--first``. Each round alternates four ways: the library in one process and in several, and plain
PyTorch in one process and in several independent ones.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.common.several import gain, in_turns
from benchmarks.common.tables import Cells, Table
from beyondprop.files import read_json

HEADS = ("training", "gain, all rounds", "one process", "several", "gain")
PLAIN = "plain PyTorch, independent processes"


def one_round(work: str, number: int, jobs: int, epochs: int) -> dict[str, Any]:
    """Return the seconds of each way, and whether both runs of the library gave the same weights.

    Args:
        work: The name of the module.
        number: The number of the round.
        jobs: The number of parallel processes.
        epochs: The length of training.
    """
    with TemporaryDirectory() as folder:
        serial, parallel = Path(folder, "serial"), Path(folder, "parallel")
        plain = [command(work, epochs=epochs, first=first, step=jobs) for first in range(jobs)]
        ways = {
            "serial": [command(work, epochs=epochs, jobs=1, folder=serial)],
            "parallel": [command(work, epochs=epochs, jobs=jobs, folder=parallel)],
            "plain_serial": [command(work, epochs=epochs)],
            "plain_parallel": plain,
        }
        return {**in_turns(ways, number), "same": weights(serial) == weights(parallel)}


def command(work: str, **flags: Any) -> list[str]:
    """Return the command of the work."""
    return [sys.executable, "-m", work, *(f"--{name}={value}" for name, value in flags.items())]


def weights(folder: Path) -> dict[str, Any]:
    """Return the digests of the weights of all networks that the library trained."""
    found = {file: read_json(file) or {} for file in sorted(folder.glob("**/record.json"))}
    return {str(file.relative_to(folder)): each["weights_sha256"] for file, each in found.items()}


def gains(rows: Sequence[Mapping[str, Any]], library: str) -> list[list[str]]:
    """Return the medians over the rounds: one row for the library and one for plain PyTorch."""
    return [
        gain(rows, library, "serial", "parallel"),
        gain(rows, PLAIN, "plain_serial", "plain_parallel"),
    ]


def cells(rows: Sequence[Mapping[str, Any]], library: str) -> Cells:
    """Return the medians over the rounds, with the headings."""
    return HEADS, gains(rows, library)


def table(rows: Sequence[Mapping[str, Any]], title: str, library: str, counted: str) -> Table:
    """Return the table of the medians over the rounds, with notes.

    Args:
        rows: The seconds of each round.
        title: The title of the table.
        library: The name of the library's function that trains.
        counted: What the times include besides training.
    """
    same = "the same bytes" if all(row["same"] for row in rows) else "DIFFERENT bytes"
    return Table(
        title,
        *cells(rows, library),
        [
            f"Medians of {len(rows)} rounds in which all four take turns; times include {counted}. "
            f"Both runs of the library produced {same} of weights."
        ],
    )
