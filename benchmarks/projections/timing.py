"""The time of every projection, relative to a stored Gaussian matrix, and the cost model's choice.

    python -m benchmarks.projections.timing --rounds 20 --threads 1

Every round gives every kind one turn, in rotating order, in one process; a ratio is the median of
the ratios within rounds. Matrices are drawn beforehand. Widths too large for a matrix are timed for
one kind only; `Streamed` by its first outputs, each of which takes the same work. Float32, CPU.
"""

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.common.command_line import command_line
from benchmarks.common.records import save
from benchmarks.common.tables import Table, number
from benchmarks.common.timing import select, set_threads, time_cases
from beyondprop.errors import UserError, install
from beyondprop.measure import Case, Step
from beyondprop.projections import (
    ALL,
    FULL,
    Dense,
    Hadamard,
    Projection,
    Streamed,
    choose,
    costs,
)


@dataclass(frozen=True)
class Sizes:
    """The widths of a projection, with the kinds to time.

    Attributes:
        inputs: Width of the input.
        outputs: Width of the output.
        batch: Rows per batch.
        kinds: The kinds of projections.
        part: The number of outputs that are timed; None for all.
    """

    inputs: int
    outputs: int
    batch: int
    kinds: tuple[Callable[..., Projection], ...] = ALL
    part: int | None = None

    @property
    def name(self) -> str:
        """The name in the record."""
        return f"{self.inputs}-{self.outputs}-{self.batch}"


WIDE, MILLION = 2**20, 10**6


def sizes() -> list[Sizes]:
    """Return all sizes."""
    return [
        Sizes(WIDE, WIDE, 1, (Hadamard,)),
        Sizes(WIDE, WIDE, 64, (Hadamard,)),
        Sizes(MILLION, MILLION, 1, (Streamed,), part=2**15),
        Sizes(MILLION, MILLION, 64, (Streamed,), part=2**12),
        Sizes(4096, 4096, 1),
        *(Sizes(inputs, 4096, 256) for inputs in (10, 1000, 4096, 50000)),
        # Around the width from which `BySize` takes `Dense` no longer.
        *(
            Sizes(50257, outputs, batch, (Dense, Hadamard))
            for outputs in (256, 1024, 3072)
            for batch in (32, 512)
        ),
    ]


def main(
    rounds: int = 20,
    threads: int | None = None,
    cases: tuple[str, ...] = ("*",),
    output: Path = Path("results/projections/timing.json"),
) -> None:
    """Time every projection.

    Args:
        rounds: Turns of each kind at each size: one projection, or 5 ms of short ones.
        threads: CPU threads. Default: PyTorch's.
        cases: Names or patterns of the sizes, for example "*-4096-256".
        output: The file of the record; the table is written next to it.
    """
    started = datetime.now(UTC)
    if importlib.util.find_spec("numba") is None:
        raise UserError(f"the fused loops need numba: {install('fast')}")
    used = set_threads(threads)
    rows = [row for size in select(sizes(), cases) for row in measure(size, rounds)]
    spec = {"rounds": rounds, "threads": used}
    save("projections/timing", spec, rows, table(rows), started, output)


def measure(size: Sizes, rounds: int) -> Iterator[dict[str, Any]]:
    """Yield one row per kind."""
    widths, part = (size.inputs, size.outputs, size.batch), size.part or size.outputs
    table = {cost.projection: cost for cost in costs(*widths, kinds=size.kinds)}
    full = [kind for kind in size.kinds if kind in FULL]
    pick = choose(*widths, kinds=full) if full == list(FULL) else None
    every = [kind() for kind in size.kinds]
    times = time_cases(size.name, [Case(p.name, partial(build, p, size)) for p in every], rounds, 1)
    for projection in every:
        taken, cost = times[projection.name], table[projection]
        yield {
            "inputs": size.inputs,
            "outputs": size.outputs,
            "batch": size.batch,
            "kind": projection.name,
            "timed_outputs": part,
            "timed_seconds": taken.seconds,
            "seconds": taken.seconds * size.outputs / part,
            "entries_per_second": size.inputs * part / taken.seconds,
            "ratio": taken.ratio if len(every) > 1 else None,
            "ratio_quartiles": taken.quartiles if len(every) > 1 else None,
            "predicted_seconds": cost.seconds,
            "stored_bytes": cost.stored,
            "full_rank": type(projection) in FULL,
            "chosen": None if pick is None else projection == pick,
        }


def build(projection: Projection, size: Sizes) -> Step:
    """Return the projection to time, with everything that it stores already drawn."""
    x = torch.randn(size.batch, size.inputs)

    def step() -> None:
        projection.project(x, size.part or size.outputs, 0)

    step()
    return step


def table(rows: list[dict[str, Any]]) -> Table:
    """Return the rows as a table."""
    return Table(
        title="Time of random projections",
        columns=("from – to", "kind", "batch", "ms", "/ dense", "foreseen ms", "kept MB", "10⁹/s"),
        rows=[
            (
                f"{row['inputs']:,} – {row['outputs']:,}",
                row["kind"] + (" (chosen)" if row["chosen"] else ""),
                str(row["batch"]),
                number(row["seconds"] * 1000, ",.3f"),
                number(row["ratio"], ".3f"),
                number(row["predicted_seconds"] * 1000, ",.3f"),
                number(row["stored_bytes"] / 1e6, ",.2f"),
                number(row["entries_per_second"] / 1e9, ",.2f"),
            )
            for row in rows
        ],
        notes=(
            "Times are for a whole batch. Streamed at a million numbers: extrapolated from its "
            "first outputs (`timed_outputs`). / dense: the median, over rounds, of a kind's time "
            "divided by the dense matrix's in the same round. Foreseen: predicted by the cost "
            "model from rates measured before. Chosen: by `projections.choose` among dense, "
            "signs, streamed and hadamard. Kept: memory between projections. 10⁹/s: entries of "
            "the matrix per second, for all rows of the batch at once.",
        ),
    )


if __name__ == "__main__":
    command_line(main)
