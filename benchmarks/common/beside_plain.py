"""What several processes gain over one for the library, beside plain PyTorch, in rounds.

The work is a module that trains the same networks in two ways: by the library where it is called
with ``--folder`` and ``--jobs``, else by plain PyTorch, every ``--step``-th network from the
``--first`` on. In a round four ways take turns: the library by one process and by several, and
plain PyTorch by one process and by several that know nothing of one another.
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
    """Return the seconds of each way, and whether both ways of the library left the same weights.

    Args:
        work: Name of the module.
        number: Of the round.
        jobs: Processes that work at once.
        epochs: Length of a training.
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
    """Return the command that does the work."""
    return [sys.executable, "-m", work, *(f"--{name}={value}" for name, value in flags.items())]


def weights(folder: Path) -> dict[str, Any]:
    """Return the digests of the weights of all networks that the library left."""
    found = {file: read_json(file) or {} for file in sorted(folder.glob("**/record.json"))}
    return {str(file.relative_to(folder)): each["weights_sha256"] for file, each in found.items()}


def gains(rows: Sequence[Mapping[str, Any]], library: str) -> list[list[str]]:
    """Return the medians over the rounds, a row for the library and one for plain PyTorch."""
    return [
        gain(rows, library, "serial", "parallel"),
        gain(rows, PLAIN, "plain_serial", "plain_parallel"),
    ]


def cells(rows: Sequence[Mapping[str, Any]], library: str) -> Cells:
    """Return the medians over the rounds, with their heads."""
    return HEADS, gains(rows, library)


def table(rows: Sequence[Mapping[str, Any]], title: str, library: str, counted: str) -> Table:
    """Return the medians over the rounds, and how they were taken.

    Args:
        rows: What rounds took.
        title: Of the table.
        library: The function of the library that trains.
        counted: What is counted beside training.
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
