"""Direct feedback of errors with very many classes: the gain and the cost of a sketch.

    python -m benchmarks.projections.many_classes --threads 1

Time: an error of 50,000 classes, batch 256, is projected to 4,096 numbers by a sketch and by a
stored matrix, alternating. Effect: a network with 2,000 classes learns by direct feedback alignment
through each; the classes are random points, and the samples are close to them. The table shows the
alignment of the hidden layers' updates with the true gradient at the end, the accuracy on new
samples, and its recovery of backprop's gain over frozen hidden layers. Each method's learning rate
is chosen beforehand, on new samples from a separate seed.
"""

import statistics
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import beyondprop as bp
from benchmarks.common.command_line import command_line
from benchmarks.common.records import save
from benchmarks.common.recovery import recovery
from benchmarks.common.tables import Table, number, percent
from benchmarks.common.timing import set_threads, time_cases
from benchmarks.projections.timing import Sizes, build
from beyondprop.experiment.summary import deviation
from beyondprop.jobs.progress import bar, bars
from beyondprop.measure import Case, alignment
from beyondprop.projections import Dense, Signs, Sketched
from beyondprop.rules import Rule

INPUTS, CLASSES, NOISE, BATCH = 64, 2000, 0.8, 256
RATES, TUNING_SEED = (1e-3, 3e-3, 1e-2), 1000
ERROR = Sizes(50_000, 4096, BATCH)

Run = tuple[float, list[float | None]]


def sketched(seed: int, buckets: int) -> Rule:
    """Return direct feedback of an error that is first summed into buckets."""
    inner = Signs(seed=seed, shared=True)
    return bp.DirectFeedbackAlignment(Sketched(seed=seed, inner=inner, buckets=buckets))


METHODS: dict[str, Callable[[int], Rule]] = {
    "backprop": lambda _: bp.Backprop(),
    "dense": lambda seed: bp.DirectFeedbackAlignment(Dense(seed=seed, shared=True)),
    **{f"sketched, {n} buckets": partial(sketched, buckets=n) for n in (1024, 256, 64)},
    "frozen": lambda _: bp.Frozen(),
}


def main(
    rounds: int = 20,
    steps: int = 500,
    repeats: int = 3,
    threads: int | None = None,
    output: Path = Path("results/projections/many_classes.json"),
) -> None:
    """Time a sketch of wide errors and train with it.

    Args:
        rounds: Rounds, with one turn per projection.
        steps: Training steps per run.
        repeats: The number of seeds, from 0.
        threads: CPU threads. Default: PyTorch's.
        output: The file of the record; the table is written next to it.
    """
    started = datetime.now(UTC)
    used = set_threads(threads)
    rows = [*times(rounds), *learning(steps, range(repeats))]
    spec: dict[str, Any] = {"rounds": rounds, "steps": steps, "repeats": repeats}
    spec |= {"threads": used, "rates": RATES, "tuning_seed": TUNING_SEED}
    save("projections/many_classes", spec, rows, table(rows), started, output)


def times(rounds: int) -> Iterator[dict[str, Any]]:
    """Yield one row per projection."""
    kinds = Dense(shared=True), Sketched()
    taken = time_cases("error", [Case(p.name, partial(build, p, ERROR)) for p in kinds], rounds, 1)
    for name, time in taken.items():
        size = {"inputs": ERROR.inputs, "outputs": ERROR.outputs, "batch": ERROR.batch}
        ratios = {"ratio": time.ratio, "ratio_quartiles": time.quartiles}
        yield {"part": "time", "way": name, **size, "seconds": time.seconds, **ratios}


def learning(steps: int, seeds: range) -> list[dict[str, Any]]:
    """Return one row per way."""
    rows = []
    total = len(METHODS) * (len(RATES) + len(seeds))
    with bars() as progress, bar(progress, "learning", total) as shown:

        def run(way: str, seed: int, rate: float) -> Run:
            found = learned(METHODS[way](seed), steps, seed, rate)
            progress.advance(shown)
            return found

        for way in METHODS:
            tried = {rate: run(way, TUNING_SEED, rate)[0] for rate in RATES}
            rate = max(RATES, key=tried.__getitem__)
            rows.append(row_of(way, rate, [run(way, seed, rate) for seed in seeds]))
    score = {row["way"]: row["accuracy"] for row in rows}
    low, high = score["frozen"], score["backprop"]
    return [row | {"recovery": recovery(row["accuracy"], high, low)} for row in rows]


def row_of(way: str, rate: float, runs: list[Run]) -> dict[str, Any]:
    """Return a way's row without its recovery."""
    scores, cosines = [run[0] for run in runs], [run[1] for run in runs]
    return {
        "part": "learning",
        "way": way,
        "rate": rate,
        "accuracies": scores,
        "alignments": cosines,
        "accuracy": statistics.mean(scores),
        "deviation": deviation(scores) or 0.0,
        "alignment": [
            (statistics.mean(layer), deviation(layer) or 0.0)
            for layer in zip(*cosines, strict=True)
            if None not in layer
        ],
    }


def learned(rule: Rule, steps: int, seed: int, rate: float) -> Run:
    """Return a network's accuracy after training, and the alignment of its hidden layers."""
    torch.manual_seed(seed)
    centres = torch.randn(CLASSES, INPUTS)
    model = nn.Sequential(
        nn.Linear(INPUTS, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, CLASSES)
    )
    handle = bp.attach(model, rule)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    for _ in range(steps):
        x, y = samples(centres, BATCH)
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    x, y = samples(centres, 4096)
    with torch.no_grad():
        score = (model(x).argmax(1) == y).double().mean().item()
    return score, list(alignment(handle, x, y, F.cross_entropy).values())[:-1]


def samples(centres: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return new samples around the points of their classes."""
    y = torch.randint(CLASSES, (count,))
    return centres[y] + NOISE * torch.randn(count, INPUTS), y


def table(rows: list[dict[str, Any]]) -> Table:
    """Return the rows as a table."""
    lines = []
    for row in rows:
        if row["part"] == "time":
            figures = number(row["seconds"] * 1000, ".2f"), number(row["ratio"], ".3f"), *"––––"
        else:
            cosines = " / ".join(f"{mean:.3f} ± {spread:.3f}" for mean, spread in row["alignment"])
            accuracy = percent(row["accuracy"], row["deviation"])
            rate, share = f"{row['rate']:g}", number(row["recovery"], ".0%")
            figures = "–", "–", rate, cosines or "–", accuracy, share
        lines.append((row["part"], row["way"], *figures))
    return Table(
        title="Direct feedback of errors of very many classes",
        columns=("part", "way", "ms", "/ dense", "rate", "alignment", "accuracy", "recovery"),
        rows=lines,
        notes=(
            "Time: one projection of an error of 50,000 classes, batch 256, to 4,096 numbers. "
            "Alignment: cosine between each hidden layer's update and the true gradient after "
            "training on 2,000 classes. Mean and standard deviation over seeds. Recovery: the "
            "share of backprop's gain over frozen hidden layers. Rate: the best of three on "
            "new samples from a separate seed.",
        ),
    )


if __name__ == "__main__":
    command_line(main)
