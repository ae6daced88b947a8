"""A training step of slot machines, relative to that of the same network with dense weights.

    python -m benchmarks.slots.cost --rounds 100

Every round gives every implementation one turn, in rotating order, in one process; a ratio is the
median of the ratios within rounds. A step is complete: forward, loss, backward, the optimizer's
step, and clearing gradients; with SGD with momentum, on new random targets for every step, so that
weights never stop changing. Eager mode, float32, CPU.
"""

import importlib.util
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.common.command_line import command_line
from benchmarks.common.records import save
from benchmarks.common.tables import Table, number, quartiles
from benchmarks.common.timing import select, time_cases
from benchmarks.slots.implementations import (
    IMPLEMENTATIONS,
    SLOTS,
    Workload,
    held_bytes,
    warmed_up,
    workloads,
)
from beyondprop.errors import UserError, install
from beyondprop.measure import Case, Step, peak_memory


def main(
    rounds: int = 100,
    warmup: int = 20,
    threads: int | None = None,
    cases: tuple[str, ...] = ("*",),
    output: Path = Path("results/slots/cost.json"),
) -> None:
    """Time a training step and measure the memory of every implementation against dense weights.

    Args:
        rounds: Turns of each implementation on each network: one step, or 5 ms of short steps.
        warmup: Uncounted rounds before; memory is measured after the same number of steps.
        threads: CPU threads. Default: first one, then PyTorch's default.
        cases: Names or patterns of the networks, for example "linear-*".
        output: The file of the record; the table is written next to it.
    """
    started = datetime.now(UTC)
    if importlib.util.find_spec("numba") is None:
        raise UserError(f"the fused form needs numba: {install('fast')}")
    counts = [threads] if threads else sorted({1, torch.get_num_threads()})
    rows = []
    for count in counts:
        torch.set_num_threads(count)
        rows += [
            row
            for workload in select(workloads(), cases)
            for row in measure(workload, rounds, warmup)
        ]
    spec = {"rounds": rounds, "warmup": warmup, "threads": counts, "slots": SLOTS}
    save("slots/cost", spec, rows, table(rows), started, output)


def measure(workload: Workload, rounds: int, warmup: int) -> Iterator[dict[str, Any]]:
    """Yield one row per implementation; the first is dense."""
    builds: dict[str, Callable[[], Step]] = {
        name: partial(build, workload) for name, build in IMPLEMENTATIONS.items()
    }
    times = time_cases(workload.name, [Case(*pair) for pair in builds.items()], rounds, warmup)
    dense: dict[str, Any] = {}
    for name, build in builds.items():
        training = warmed_up(build, warmup)
        state, resting, changed = (
            held_bytes(training, momentum=False),
            held_bytes(training),
            training.changed(),
        )
        peak = peak_memory(partial(warmed_up, build, warmup))
        row = {
            "net": workload.name,
            "batch": workload.shape[0],
            "threads": torch.get_num_threads(),
            "form": name,
            "seconds": times[name].seconds,
            "ratio": times[name].ratio,
            "ratio_quartiles": times[name].quartiles,
            "state_bytes": state,
            "resting_bytes": resting,
            "step_bytes": peak.bytes,
            "peak_bytes": resting + peak.bytes,
            "changed": changed,
            "method": peak.method,
        }
        dense = dense or row
        row["state_ratio"] = state / dense["state_bytes"]
        row["peak_ratio"] = row["peak_bytes"] / dense["peak_bytes"]
        yield row


def table(rows: list[dict[str, Any]]) -> Table:
    """Return the rows as a table."""
    return Table(
        title="A training step of slot machines, relative to dense weights",
        columns=(
            "network",
            "form",
            "threads",
            "batch",
            "ms",
            "ratio",
            "quartiles",
            "state / weights",
            "peak MB",
            "/ dense",
            "changed",
        ),
        rows=[
            (
                row["net"],
                row["form"],
                str(row["threads"]),
                str(row["batch"]),
                number(row["seconds"] * 1000, ".3f"),
                number(row["ratio"], ".3f"),
                quartiles(row),
                number(row["state_ratio"], ".2f"),
                number(row["peak_bytes"] / 1e6, ".1f"),
                number(row["peak_ratio"], ".2f"),
                number(row["changed"], ".2%"),
            )
            for row in rows
        ],
        notes=(
            "Ratio: the median, over rounds, of a form's time divided by the dense network's in "
            "the same round, with its quartiles. State: all tensors that the form holds between "
            "steps except the optimizer's momentum, over the bytes of the weights. Peak: the "
            "memory held between steps, including momentum, plus the largest increase in a step, "
            "in a fresh process (resident memory, or tensors alone below 32 MiB). Changed: "
            "weights that take another value in a step.",
        ),
    )


if __name__ == "__main__":
    command_line(main)
