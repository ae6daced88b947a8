"""Throughput of two processes, relative to one: local losses, DFA and 1F1B backprop.

    python -m benchmarks.schedules.pipeline --rounds 20

It starts two processes of one thread each. Every round gives every training method one turn in
one process and one in both, in rotating order; a ratio is the median of the ratios within rounds.
"""

import json
import multiprocessing
import statistics
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch

from benchmarks.common.command_line import command_line
from benchmarks.common.networks import Network, mlp
from benchmarks.common.records import save
from benchmarks.common.tables import Table, number, quartiles
from benchmarks.common.timing import select
from benchmarks.schedules.pipeline_worker import BACKPROP, RULES, work
from beyondprop.errors import UserError


def main(
    rounds: int = 20,
    steps: int = 8,
    chunks: tuple[int, ...] = (2, 4),
    cases: tuple[str, ...] = ("*",),
    output: Path = Path("results/schedules/pipeline.json"),
) -> None:
    """Measure samples per second in one process and in a pipeline of two.

    Args:
        rounds: Rounds, with one turn per training method on each network.
        steps: Consecutive steps per turn; between turns, the pipeline is emptied.
        chunks: Numbers of micro-batches per batch to try.
        cases: Names or patterns of the networks.
        output: The file of the record; the table is written next to it.
    """
    started = datetime.now(UTC)
    torch.set_num_threads(1)
    rows = [row for net in select(nets(), cases) for row in measure(net, rounds, steps, chunks)]
    spec = {"rounds": rounds, "steps": steps, "chunks": list(chunks), "processes": 2, "threads": 1}
    save("schedules/pipeline", spec, rows, table(rows), started, output)


def nets() -> list[Network]:
    """Return MLPs of 8 hidden layers with batch sizes equal to their widths."""
    return [
        Network(f"mlp-8x{width}", partial(mlp, 784, width, 8), (width, 784))
        for width in (512, 1024)
    ]


def measure(
    net: Network, rounds: int, steps: int, chunks: tuple[int, ...]
) -> Iterator[dict[str, Any]]:
    """Yield one row per training method."""
    seconds = timed_by_two(net, chunks, rounds, steps)
    for name, count in product((*RULES, BACKPROP), chunks):
        one, two = seconds[f"{name}: one"], seconds[f"{name}: {count}"]
        ratios = [a / b for a, b in zip(one, two, strict=True)]
        many = ratios if len(ratios) > 1 else ratios * 2
        low, middle, high = statistics.quantiles(many, n=4, method="inclusive")
        yield {
            "net": net.name,
            "batch": net.shape[0],
            "training": name,
            "chunks": count,
            "samples_per_second_one": net.shape[0] / statistics.median(one),
            "samples_per_second_two": net.shape[0] / statistics.median(two),
            "ratio": middle,
            "ratio_quartiles": (low, high),
        }


def timed_by_two(
    net: Network, chunks: tuple[int, ...], rounds: int, steps: int
) -> dict[str, list[float]]:
    """Start the two processes; return the seconds per step of every turn."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        children = [
            context.Process(target=work, args=(rank, net, chunks, rounds, steps, folder))
            for rank in range(2)
        ]
        for child in children:
            child.start()
        for child in children:
            child.join()
        if any(child.exitcode for child in children):
            raise UserError(f"a process failed on {net.name}: its output is above")
        found: dict[str, list[float]] = json.loads(Path(folder, "seconds.json").read_text())
    return found


def table(rows: list[dict[str, Any]]) -> Table:
    """Return the rows as a table."""
    return Table(
        title="Throughput of a pipeline of two processes, relative to one",
        columns=("network", "training", "batch", "chunks", "one/s", "two/s", "ratio", "quartiles"),
        rows=[
            (
                row["net"],
                row["training"],
                str(row["batch"]),
                str(row["chunks"]),
                number(row["samples_per_second_one"], ",.0f"),
                number(row["samples_per_second_two"], ",.0f"),
                number(row["ratio"], ".2f"),
                quartiles(row, ".2f"),
            )
            for row in rows
        ],
        notes=(
            "One/s and two/s: samples per second, medians. One: the same training in one process, "
            "with the ordinary loop on whole batches and one thread. Two: a stage on each of two "
            "processes, with one thread each. Ratio: the median, over rounds, of the ratio of "
            "throughputs in the same round, with its quartiles. dgl: local losses with "
            "cross-entropy. 1F1B: one forward, one backward, by torch.distributed.pipelining.",
        ),
    )


if __name__ == "__main__":
    command_line(main)
