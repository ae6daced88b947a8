"""The deviation of every projection from independent Gaussian entries: norms, products, outputs.

    python -m benchmarks.projections.statistics --repeats 3 --threads 1

Norms and inner products: of Gaussian pairs of vectors at a cosine of a half, projected by one map
per seed, compared with theory for a Gaussian matrix. Outputs: of many maps per seed for a one-hot
and a constant input, with the correlation of neighbouring outputs and the excess kurtosis, which is
0 for a Gaussian. Float32, CPU.
"""

import statistics
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.common.command_line import command_line
from benchmarks.common.records import save
from benchmarks.common.tables import Table, number
from benchmarks.common.timing import set_threads
from beyondprop.experiment.summary import deviation
from beyondprop.jobs.progress import bar, bars
from beyondprop.projections import (
    Dense,
    Hadamard,
    LowRank,
    Projection,
    Signs,
    Sketched,
    Sparse,
    Streamed,
)

WIDTHS = (4096, 256), (256, 4096)
SPARSE, RANK, BUCKETS = 0.05, 64, 1024

Figures = dict[str, float]


def sketched(seed: int) -> Projection:
    """Return a sketch followed by a matrix of signs, from one seed."""
    return Sketched(seed=seed, inner=Signs(seed=seed), buckets=BUCKETS)


KINDS: dict[str, Callable[[int], Projection]] = {
    "dense": Dense,
    "signs": Signs,
    "streamed": Streamed,
    "hadamard, two rounds": Hadamard,
    "hadamard, three rounds": partial(Hadamard, rounds=3),
    f"sketched, {BUCKETS} buckets": sketched,
    f"sparse, density {SPARSE}": partial(Sparse, density=SPARSE),
    f"low-rank, rank {RANK}": partial(LowRank, rank=RANK),
}


def main(
    pairs: int = 2000,
    maps: int = 30,
    repeats: int = 3,
    threads: int | None = None,
    output: Path = Path("results/projections/statistics.json"),
) -> None:
    """Measure the statistics of every projection.

    Args:
        pairs: Pairs of Gaussian vectors that each seed's map projects.
        maps: Maps per seed that project a one-hot and a constant vector.
        repeats: The number of seeds, from 0.
        threads: CPU threads. Default: PyTorch's.
        output: The file of the record; the table is written next to it.
    """
    started = datetime.now(UTC)
    used = set_threads(threads)
    rows = list(measured(pairs, maps, range(repeats)))
    spec = {"pairs": pairs, "maps": maps, "repeats": repeats}
    spec["threads"] = used
    save("projections/statistics", spec, rows, table(rows), started, output)


def measured(pairs: int, maps: int, seeds: range) -> Iterator[dict[str, Any]]:
    """Yield one row per pair of widths and kind: every figure with its spread over seeds."""
    turns = len(WIDTHS) * len(KINDS) * len(seeds)
    with bars() as progress, bar(progress, "statistics", turns) as shown:
        for m, n in WIDTHS:
            for kind, make in KINDS.items():
                found = []
                for seed in seeds:
                    made = make(seed)
                    figures = of_pairs(made, m, n, pairs, seed)
                    for name, x in inputs(m).items():
                        figures |= {f"{name}_{k}": v for k, v in of_maps(made, x, n, maps).items()}
                    found.append(figures)
                    progress.advance(shown)
                yield {"inputs": m, "outputs": n, "kind": kind} | over_seeds(found)


def inputs(width: int) -> dict[str, Tensor]:
    """Return inputs of norm 1 that are far from Gaussian."""
    one_hot = torch.zeros(width)
    one_hot[width // 3] = 1
    return {"one_hot": one_hot, "constant": torch.full((width,), width**-0.5)}


def of_pairs(projection: Projection, m: int, n: int, pairs: int, seed: int) -> Figures:
    """Return how well one map preserves norms and inner products of Gaussian vectors.

    The error of an inner product is relative to both norms, and its deviation is relative to the
    theoretical one for a Gaussian matrix, ``sqrt((1 + cosine^2) / n)``.
    """
    generator = torch.Generator().manual_seed(seed)
    common, x, y = (torch.randn(pairs, m, generator=generator) for _ in range(3))
    x, y = x + common, y + common
    lengths = x.norm(dim=1) * y.norm(dim=1)
    px, py = (projection.project(v, n, 0).double() for v in (x, y))
    ratio = torch.cat([p.norm(dim=1) / v.norm(dim=1) for p, v in ((px, x), (py, y))])
    cosine = (x * y).sum(1) / lengths
    errors = ((px * py).sum(1) / lengths - cosine) / ((1 + cosine**2) / n).sqrt()
    return {
        "norm_mean": ratio.mean().item(),
        "norm_deviation": ratio.std().item(),
        "squared_norm_deviation": ratio.square().std().item(),
        "inner_mean": errors.mean().item(),
        "inner_deviation": errors.std().item(),
    }


def of_maps(projection: Projection, x: Tensor, n: int, maps: int) -> Figures:
    """Return the statistics of many maps' outputs for one input of norm 1."""
    found = torch.stack([projection.project(x, n, 1 + i) for i in range(maps)]).double()
    norms, numbers = found.norm(dim=1), found * n**0.5
    kurtosis = (numbers**4).mean() / numbers.square().mean() ** 2
    neighbours = (numbers[:, 1:] * numbers[:, :-1]).mean() / numbers.square().mean()
    return {
        "norm_mean": norms.mean().item(),
        "norm_deviation": norms.std().item(),
        "squared_norm_deviation": norms.square().std().item(),
        "neighbours": neighbours.item(),
        "excess_kurtosis": kurtosis.item() - 3,
    }


def over_seeds(found: list[Figures]) -> dict[str, tuple[float, float]]:
    """Return the mean and the standard deviation of every figure over seeds."""
    return {
        name: (statistics.mean(values), deviation(values) or 0.0)
        for name in found[0]
        for values in [[figures[name] for figures in found]]
    }


COLUMNS = {
    "squared_norm_deviation": "norm, Gaussian",
    "inner_deviation": "products / theory",
    "one_hot_squared_norm_deviation": "norm, one-hot",
    "constant_squared_norm_deviation": "norm, constant",
    "one_hot_neighbours": "neighbours, one-hot",
    "constant_neighbours": "neighbours, constant",
    "one_hot_excess_kurtosis": "kurtosis, one-hot",
    "constant_excess_kurtosis": "kurtosis, constant",
}


def table(rows: list[dict[str, Any]]) -> Table:
    """Return the rows as a table."""
    return Table(
        title="Statistics of random projections",
        columns=("from – to", "kind", "theory, norm", *COLUMNS.values()),
        rows=[
            (
                f"{row['inputs']:,} – {row['outputs']:,}",
                row["kind"],
                number((2 / row["outputs"]) ** 0.5, ".4f"),
                *(f"{row[name][0]:.4f} ± {row[name][1]:.4f}" for name in COLUMNS),
            )
            for row in rows
        ],
        notes=(
            "Mean and standard deviation over seeds. Norm: the standard deviation of |Px|² / "
            "|x|², over Gaussian inputs of one map, or over maps of a one-hot or constant input; "
            "theory: the value for a Gaussian matrix, sqrt(2 / outputs). Products: the standard "
            "deviation of the error of inner products at a cosine of a half, divided by the "
            "theoretical value for a Gaussian matrix. Neighbours: the correlation of an output "
            "and the next one. Kurtosis: excess kurtosis of the outputs. The record also has |Px| "
            "/ |x| and means.",
        ),
    )


if __name__ == "__main__":
    command_line(main)
