"""Peak memory and time of a training step from 4 to 64 blocks deep, for rules that free each block.

    python -m benchmarks.memory.depth

Backprop stores every activation until its backward pass; recomputing them (activation
checkpointing) trades time for memory; blocks that learn inside the forward pass store the
activations of one block only. Batches of 1024 samples go through blocks of 1024 units; every memory
figure comes from a fresh process.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint_sequential

import beyondprop as bp
from benchmarks.common.command_line import command_line
from benchmarks.common.networks import CLASSES, sgd
from benchmarks.common.records import save
from benchmarks.common.tables import Table, number
from benchmarks.common.timing import set_threads
from benchmarks.memory.depth_plot import draw
from beyondprop.jobs.progress import bar, bars
from beyondprop.measure import (
    Case,
    PeakMemory,
    Step,
    peak_memory,
    step_time,
)

WIDTH = BATCH = 1024
RATE = 1e-3
BACKPROP, RECOMPUTED = "backprop", "backprop, recomputed"


def network(depth: int) -> nn.Sequential:
    """Return blocks of one linear layer and ReLU, with the output layer last."""
    hidden = [nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU()) for _ in range(depth - 1)]
    return nn.Sequential(*hidden, nn.Linear(WIDTH, CLASSES))


def batch() -> tuple[Tensor, Tensor]:
    """Return a fixed batch of random inputs with random classes."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(BATCH, WIDTH, generator=generator)
    return inputs, torch.randint(CLASSES, (BATCH,), generator=generator)


def backprop(depth: int) -> Step:
    """Return a step of plain PyTorch."""
    model, (inputs, targets) = network(depth), batch()
    optimizer = sgd(model.parameters(), RATE)

    def step() -> None:
        optimizer.zero_grad()
        cross_entropy(model(inputs), targets).backward()
        optimizer.step()

    return step


def recomputed(depth: int) -> Step:
    """Return a step of plain PyTorch that stores √depth activations and recomputes the others."""
    model, (inputs, targets) = network(depth), batch()
    optimizer = sgd(model.parameters(), RATE)
    segments = max(1, round(depth**0.5))

    def step() -> None:
        optimizer.zero_grad()
        outputs = checkpoint_sequential(model, segments, inputs, use_reentrant=False)
        cross_entropy(outputs, targets).backward()
        optimizer.step()

    return step


def immediate(rule: str, depth: int) -> Step:
    """Return a step in which every block learns inside the forward pass."""
    model, (inputs, targets) = network(depth), batch()
    handle = bp.attach(model, bp.rules.make(rule))
    optimizer = sgd([*model.parameters(), *handle.parameters()], RATE)
    handle.follow(bp.Immediate(optimizer))

    def step() -> None:
        optimizer.zero_grad()
        with handle.targets(targets):
            outputs = model(inputs)
        cross_entropy(outputs, targets).backward()
        optimizer.step()

    step()  # creates the heads, which are parameters and do not count
    return step


METHODS: dict[str, Callable[[int], Step]] = {
    BACKPROP: backprop,
    RECOMPUTED: recomputed,
    "dgl, immediate": partial(immediate, "dgl"),
    "predsim, immediate": partial(immediate, "predsim"),
    "drtp, immediate": partial(immediate, "drtp"),
}


def main(
    depths: tuple[int, ...] = (4, 8, 16, 32, 64),
    rounds: int = 5,
    threads: int | None = None,
    output: Path = Path("results/memory/depth.json"),
) -> None:
    """Measure peak memory and time of a step by depth.

    Args:
        depths: Numbers of blocks.
        rounds: Rounds of timing, with one turn per case.
        threads: CPU threads. Default: PyTorch's.
        output: The file of the record; the table and the plot are written next to it.
    """
    started = datetime.now(UTC)
    used = set_threads(threads)
    with bars() as progress:
        rows = [row for depth in depths for row in measure(depth, rounds, progress)]
    spec = {"depths": depths, "rounds": rounds, "threads": used}
    save("memory/depth", spec, rows, table(rows), started, output)
    draw(rows, output.with_suffix(".svg"))


def measure(depth: int, rounds: int, progress: Progress) -> list[dict[str, Any]]:
    """Return one row for each training method at this depth."""
    cases = [Case(name, partial(way, depth)) for name, way in METHODS.items()]
    with bar(progress, f"{depth} blocks", len(cases) + 1) as shown:
        peaks: dict[str, PeakMemory] = {}
        for case in cases:
            peaks[case.name] = peak_memory(case.build)
            progress.advance(shown)
        times = step_time(cases, rounds, warmup=1)
        progress.advance(shown)
    plain = peaks[BACKPROP]
    return [
        {
            "depth": depth,
            "way": name,
            "bytes": peaks[name].bytes,
            "tensor_bytes": peaks[name].tensor_bytes,
            "resident_bytes": peaks[name].resident_bytes,
            "memory_ratio": peaks[name].ratio(plain),
            "seconds": times[name].seconds,
            "time_ratio": times[name].ratio,
            "time_quartiles": times[name].quartiles,
            "method": peaks[name].method,
        }
        for name in METHODS
    ]


def table(rows: list[dict[str, Any]]) -> Table:
    """Return the rows as a table."""
    least = min(row["depth"] for row in rows)
    first = {row["way"]: row for row in rows if row["depth"] == least}
    return Table(
        title="Peak memory and time of a training step by depth",
        columns=("blocks", "way", "MB", f"/ {least} blocks", "/ backprop", "s", "/ backprop"),
        rows=[
            (
                str(row["depth"]),
                row["way"],
                number(row["bytes"] / 1e6, ".1f"),
                number(row["bytes"] / first[row["way"]]["bytes"], ".2f"),
                number(row["memory_ratio"], ".3f"),
                number(row["seconds"], ".3f"),
                number(row["time_ratio"], ".2f"),
            )
            for row in rows
        ],
        notes=(
            "MB: peak increase of resident memory over two steps in a fresh process. The model, "
            "its heads and the batch are already loaded, so gradients and activations count; "
            f"below 32 MiB, only tensors count. / {least} blocks: relative to the same method at "
            "the smallest depth. Recomputed: torch.utils.checkpoint in √depth segments. "
            "Immediate: each block learns, steps and frees its activations inside the forward "
            "pass.",
        ),
    )


if __name__ == "__main__":
    command_line(main)
