"""A training step of direct feedback alignment, compared with one written without the library.

    taskset -c 0 python -m benchmarks.step_time.by_hand --threads 1

Backprop, the step by hand, which is the limit, and the library's step alternate in one process; a
ratio is the median of the ratios within rounds. The figures of each network are cached and not
measured again. Eager mode, float32, CPU, SGD.
"""

import statistics
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.common.cached_runs import cached_runs
from benchmarks.common.command_line import command_line
from benchmarks.common.records import save
from benchmarks.common.tables import Table
from benchmarks.common.timing import select, set_threads
from benchmarks.step_time.hand_written import TEACHING, networks
from benchmarks.step_time.tables import by_hand
from beyondprop.measure import Case
from beyondprop.measure.step_time import timed_rounds

WITHIN = 1.03
"""The largest time of the library's step, relative to the step by hand."""

MOST = {
    "decoder": 1.00,
    "decoder, finer": 0.82,
    "decoder, 50257, norm": 1.02,
    "decoder, 50257, logits": 1.08,
}
"""The largest times of its step, relative to backprop."""

LOOSER = {"vit": 1.05, "resnet18": 1.05}
"""The largest times relative to the step by hand, on networks of images."""


def main(
    rounds: int = 20,
    warmup: int = 2,
    threads: int = 1,
    batch: int = 8,
    cases: tuple[str, ...] = ("*",),
    runs: Path = Path("runs/step_time"),
    output: Path = Path("results/step_time/by_hand.json"),
) -> None:
    """Time a step of direct feedback alignment, by the library and by hand, against backprop.

    Args:
        rounds: Rounds, with one turn per step on each network.
        warmup: Warm-up rounds, which are not counted.
        threads: CPU threads.
        batch: Texts per batch; images are twice as many.
        cases: Names or patterns of the networks, for example "decoder*".
        runs: Folder that caches each network's figures.
        output: The file of the record; the table is written next to it.
    """
    started = datetime.now(UTC)
    jobs = {
        net.name: partial(measure, net.name, rounds, warmup, threads, batch)
        for net in select(networks(batch), cases)
    }
    found = cached_runs(runs / f"by_hand-{rounds}-{batch}", jobs, workers=1)
    spec = {"rounds": rounds, "warmup": warmup, "threads": threads, "batch": batch}
    rows = list(found.values())
    save("step_time/by_hand", spec, rows, table(rows), started, output)


def measure(name: str, rounds: int, warmup: int, threads: int, batch: int) -> dict[str, Any]:
    """Return the figures of a network."""
    set_threads(threads)
    (net,) = select(networks(batch), [name])
    cases = [Case(kind, build) for kind, build in net.steps().items()]
    seconds = list(timed_rounds(cases, rounds, warmup))
    plain, hand, library = (list(each) for each in zip(*seconds, strict=True))
    return {
        "net": name,
        "batch": net.shape[0],
        "seconds": dict(zip(TEACHING, map(statistics.median, (plain, hand, library)), strict=True)),
        "by_hand": _ratio(hand, plain),
        "library": _ratio(library, plain),
        "most": MOST.get(name),
        "beside_hand": _ratio(library, hand),
        "within": LOOSER.get(name, WITHIN),
    }


def _ratio(some: list[float], others: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(some, others, strict=True))


def table(rows: list[dict[str, Any]]) -> Table:
    """Return the rows as a table."""
    heads, cells = by_hand(rows)
    return Table(
        title="A step of direct feedback alignment, by the library and written by hand",
        columns=heads,
        rows=cells,
        notes=(
            "By hand and library: time of a step relative to backprop in plain PyTorch, median of "
            "the ratios within rounds. The step by hand cuts the graph with `detach` and computes "
            "each product with a feedback matrix once. The decoder has 6 layers of width 256 and "
            "128 tokens; its blocks are the layers (finer: attention with its norm, the first "
            "product with its activation, the second with its norm). Norm, logits: the place of "
            "the error with a vocabulary of 50,257; the others have 65.",
        ),
    )


if __name__ == "__main__":
    command_line(main)
