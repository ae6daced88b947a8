"""Peak memory of a training step of every rule, relative to backprop in plain PyTorch.

    python -m benchmarks.memory.rules

Every figure comes from a fresh process. Activations use most of the memory: batches of 1024 samples
go through hidden layers of 1024 units.
"""

import statistics
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.progress import Progress

from benchmarks.common.command_line import command_line
from benchmarks.common.networks import PLAIN, Network, memory_networks
from benchmarks.common.records import save
from benchmarks.common.tables import Table, number
from benchmarks.common.timing import select, set_threads
from beyondprop.jobs.progress import bar, bars
from beyondprop.measure import PeakMemory, peak_memory


def main(
    repeats: int = 3,
    steps: int = 2,
    threads: int | None = None,
    cases: tuple[str, ...] = ("*",),
    output: Path = Path("results/memory/rules.json"),
) -> None:
    """Measure the peak memory of a training step of every rule.

    Args:
        repeats: Fresh processes for each rule and network.
        steps: Training steps in each process.
        threads: CPU threads. Default: PyTorch's.
        cases: Names or patterns of the networks, for example "mlp-64x*".
        output: The file of the record; the table is written next to it.
    """
    started = datetime.now(UTC)
    used = set_threads(threads)
    nets = select(memory_networks(), cases)
    with bars() as progress:
        rows = [row for net in nets for row in measure(net, repeats, steps, progress)]
    spec = {"repeats": repeats, "steps": steps, "threads": used}
    save("memory/rules", spec, rows, table(rows), started, output)


def measure(net: Network, repeats: int, steps: int, progress: Progress) -> list[dict[str, Any]]:
    """Return one row per rule; repeats alternate, so that slow drift affects all rules equally."""
    cases = net.cases()
    peaks = defaultdict(list)
    with bar(progress, net.name, repeats * len(cases)) as shown:
        for _ in range(repeats):
            for case in cases:
                peaks[case.name].append(peak_memory(case.build, steps))
                progress.advance(shown)
    return [row(net, rule, found, peaks[PLAIN]) for rule, found in peaks.items()]


def row(
    net: Network, rule: str, found: list[PeakMemory], plain: list[PeakMemory]
) -> dict[str, Any]:
    """Return a rule's medians, with all single figures."""
    resident = [peak.resident_bytes for peak in found if peak.resident_bytes is not None]
    plain_resident = [peak.resident_bytes for peak in plain if peak.resident_bytes is not None]
    tensors = statistics.median(peak.tensor_bytes for peak in found)
    plain_tensors = statistics.median(peak.tensor_bytes for peak in plain)
    middle = statistics.median(resident) if resident else None
    return {
        "net": net.name,
        "batch": net.shape[0],
        "rule": rule,
        "resident_bytes": middle,
        "resident_ratio": middle and middle / statistics.median(plain_resident),
        "resident_spread": middle and (max(resident) - min(resident)) / middle,
        "tensor_bytes": tensors,
        "tensor_ratio": tensors / plain_tensors,
        "repeats": [
            {"resident_bytes": peak.resident_bytes, "tensor_bytes": peak.tensor_bytes}
            for peak in found
        ],
        "method": found[0].method,
    }


def table(rows: list[dict[str, Any]]) -> Table:
    """Return the rows as a table."""
    return Table(
        title="Peak memory of a training step, relative to plain PyTorch",
        columns=("network", "rule", "MB", "ratio", "spread", "MB tensors", "ratio"),
        rows=[
            (
                row["net"],
                row["rule"],
                number(row["resident_bytes"] and row["resident_bytes"] / 1e6, ".1f"),
                number(row["resident_ratio"], ".3f"),
                number(row["resident_spread"], ".1%"),
                number(row["tensor_bytes"] / 1e6, ".1f"),
                number(row["tensor_ratio"], ".3f"),
            )
            for row in rows
        ],
        notes=(
            "MB, ratio: peak increase of resident memory over the steps in a fresh process, median "
            "of the repeats. The model and inputs are already loaded, so gradients, activations, "
            "optimizer state and feedback matrices count. Spread: the largest minus the smallest, "
            "relative to the median. MB tensors, ratio: the same as counted by PyTorch's "
            "allocator, which does not see the memory of other libraries.",
        ),
    )


if __name__ == "__main__":
    command_line(main)
