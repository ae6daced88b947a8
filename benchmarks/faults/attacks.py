"""Attacks on the library, counted, and the cost of its checks.

    python -m benchmarks.faults.attacks

Each kind of attack runs in its own process, whose peak memory is recorded. `make test-all` makes
the same attacks and fails if one is neither refused in one sentence nor gives the correct result.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.common.cached_runs import cached_runs
from benchmarks.common.command_line import command_line
from benchmarks.common.records import save
from benchmarks.common.tables import Table
from benchmarks.faults import bad_inputs, bounds, damaged_files, disks, kills, tables, threads
from benchmarks.faults.children import peak
from benchmarks.faults.tally import Tally

ATTACKS: dict[str, Callable[[Tally], object]] = {
    "bad inputs": bad_inputs.attack,
    "8 threads by every rule": threads.attack,
    "damaged files": damaged_files.attack,
    "kills": kills.attack,
    "full disks": disks.full,
    "disks that are only read": disks.read_only,
    "folders that vanish": disks.vanishing,
}


def main(
    cases: Sequence[str] = tuple(ATTACKS),
    rounds: int = 21,
    runs: Path = Path("runs/faults"),
    output: Path = Path("results/faults/attacks.json"),
) -> None:
    """Attack the library, and time its checks.

    Args:
        cases: The attacks.
        rounds: Rounds of each check, with and without it.
        runs: Folder that caches the results.
        output: The file of the record; the table is written next to it.
    """
    started = datetime.now(UTC)
    actions = {name: partial(counted, name) for name in cases} | {"bounds": partial(costs, rounds)}
    wanted = {name: partial(apart, action) for name, action in actions.items()}
    found = cached_runs(runs, wanted, workers=1)
    rows = [*(found[name] for name in cases), *found["bounds"]["rows"]]
    save("faults/attacks", {"rounds": rounds}, rows, table(rows), started, output)


def apart(action: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the result of an action in a new process, which has its own peak memory."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(action).result()


def counted(name: str) -> dict[str, Any]:
    """Return the results of the attacks of one kind, made in this process."""
    tally = Tally()
    ATTACKS[name](tally)
    return {
        "part": "attack",
        "what": name,
        "tried": tally.tried,
        "refused": tally.refused,
        "right": tally.right,
        "faults": tally.faults,
        "seconds": tally.slowest or None,
        "memory": max(peak(os.getpid()), tally.memory),
        "skipped": tally.skipped,
    }


def costs(rounds: int) -> dict[str, Any]:
    """Return the cost of the checks."""
    return {"rows": bounds.ratios(rounds)}


def table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return the counts, with the ratios as notes."""
    _, costly = tables.bounds(rows)
    skipped = [why for row in rows for why in row.get("skipped", [])]
    return Table(
        "Attacks on the library",
        *tables.counts(rows),
        [
            "Seconds: computing time of the longest input, where attacks run in one process. "
            "MiB: memory of the largest process, including PyTorch.",
            "A damaged file gives the correct result if it reads as it was written. A data file "
            "without a hash does so if its shapes, types and classes match its content.",
            "Time with a check relative to the time without, medians of interleaved rounds: "
            + "; ".join(f"{what} {ratio} ({spread})" for what, *_, ratio, spread in costly)
            + ".",
            *(
                [f"Not tried on this machine: {'; '.join(dict.fromkeys(skipped))}."]
                if skipped
                else []
            ),
        ],
    )


if __name__ == "__main__":
    command_line(main)
