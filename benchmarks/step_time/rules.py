"""A training step of every rule, relative to backprop in plain PyTorch with nothing attached.

    python -m benchmarks.step_time.rules --rounds 100

Every round gives every rule one turn, in rotating order, in one process; a ratio is the median
of the ratios within rounds. Eager mode, float32, CPU, SGD.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.common.command_line import command_line
from benchmarks.common.flops import products
from benchmarks.common.networks import Network, step_time_networks
from benchmarks.common.records import save
from benchmarks.common.tables import Table, number, quartiles
from benchmarks.common.timing import select, set_threads, time_cases


def main(
    rounds: int = 100,
    warmup: int = 5,
    threads: int | None = None,
    cases: tuple[str, ...] = ("*",),
    output: Path = Path("results/step_time/rules.json"),
) -> None:
    """Time a training step of every rule against plain PyTorch.

    Args:
        rounds: Turns of each rule on each network: one step, or 5 ms of short steps.
        warmup: Warm-up rounds, which are not counted.
        threads: CPU threads. Default: PyTorch's.
        cases: Names or patterns of the networks, for example "mlp-*x1024".
        output: The file of the record; the table is written next to it.
    """
    started = datetime.now(UTC)
    used = set_threads(threads)
    nets = select(step_time_networks(), cases)
    rows = [row for net in nets for row in measure(net, rounds, warmup)]
    spec = {"rounds": rounds, "warmup": warmup, "threads": used}
    save("step_time/rules", spec, rows, table(rows), started, output)


def measure(net: Network, rounds: int, warmup: int) -> Iterator[dict[str, Any]]:
    """Yield one row per rule."""
    limits, times = products(net), time_cases(net.name, net.cases(), rounds, warmup)
    for rule in times:
        yield {
            "net": net.name,
            "batch": net.shape[0],
            "rule": rule,
            "seconds": times[rule].seconds,
            "ratio": times[rule].ratio,
            "ratio_quartiles": times[rule].quartiles,
            "flops": limits.of(rule),
            "flop_limit": limits.limit(rule),
        }


def table(rows: list[dict[str, Any]]) -> Table:
    """Return the rows as a table."""
    return Table(
        title="Time of a training step, relative to plain PyTorch",
        columns=("network", "rule", "batch", "ms", "ratio", "quartiles", "limit"),
        rows=[
            (
                row["net"],
                row["rule"],
                str(row["batch"]),
                number(row["seconds"] * 1000, ".3f"),
                number(row["ratio"], ".3f"),
                quartiles(row),
                number(row["flop_limit"], ".3f"),
            )
            for row in rows
        ],
        notes=(
            "Ratio: the median, over rounds, of a rule's time divided by plain PyTorch's in the "
            "same round, with its quartiles. Limit: the ratio if only the matrix products that the "
            "rule needs took time, by floating-point operations.",
        ),
    )


if __name__ == "__main__":
    command_line(main)
