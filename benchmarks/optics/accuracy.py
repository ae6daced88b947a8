"""The accuracy of direct feedback alignment if light carries the error, effect by effect.

    python -m benchmarks.optics.accuracy --epochs 5

MNIST and Fashion-MNIST, two hidden layers of 512. Learning rates of backprop, of exact feedback
and of frozen hidden layers are chosen on the validation split with a separate seed; all optical
runs use the rate of exact feedback. Every run is cached in a folder and not repeated.
`accuracy_plot.py` draws the record.
"""

import statistics
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.common.cached_runs import cached_runs
from benchmarks.common.command_line import command_line
from benchmarks.common.records import save
from benchmarks.common.recovery import recovery
from benchmarks.common.tables import Table, number
from benchmarks.optics.configurations import CONFIGURATIONS, CONTROLS, SWEEPS
from benchmarks.optics.training import TASKS, run
from beyondprop.experiment.summary import deviation

RATES = 6e-4, 2e-3, 6e-3
TUNING_SEED = 1000


def main(
    epochs: int = 4,
    repeats: int = 3,
    workers: int = 2,
    runs: Path = Path("runs/optics"),
    output: Path = Path("results/optics/accuracy.json"),
) -> None:
    """Train networks through simulated light, from several seeds.

    Args:
        epochs: Passes over the training samples.
        repeats: The number of seeds, from 0.
        workers: Parallel runs, each with one thread.
        runs: Folder that caches each run.
        output: The file of the record.
    """
    started = datetime.now(UTC)
    rates = {name: tuned(name, epochs, workers, runs) for name in TASKS}
    rows = []
    for name in TASKS:
        jobs = {
            f"{name} {way} {seed}": partial(
                run, name, way, rates[name].get(way, rates[name]["exact"]), epochs, seed
            )
            for way in CONFIGURATIONS
            for seed in range(repeats)
        }
        found = cached_runs(runs / f"{name}-{epochs}", jobs, workers)
        rows += summary(name, list(found.values()))
    spec = {"epochs": epochs, "seeds": repeats, "rates": RATES, "tuning_seed": TUNING_SEED}
    save("optics/accuracy", spec, rows, table(rows, epochs), started, output)


def tuned(name: str, epochs: int, workers: int, runs: Path) -> dict[str, float]:
    """Return the best learning rate of each control on the validation split."""
    jobs = {
        f"{way} {rate:g}": partial(run, name, way, rate, epochs, TUNING_SEED)
        for way in CONTROLS
        for rate in RATES
    }
    found = cached_runs(runs / f"{name}-{epochs}-rates", jobs, workers)
    return {
        way: max(RATES, key=lambda rate: found[f"{way} {rate:g}"]["validation"]) for way in CONTROLS
    }


def summary(name: str, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one row per way: mean, deviation and recovery over seeds, and each seed's results."""
    runs = {way: [one for one in found if one["way"] == way] for way in CONFIGURATIONS}
    means = {way: statistics.mean(one["test"] for one in all_) for way, all_ in runs.items()}
    low, high = means["frozen"], means["backprop"]
    return [
        {
            "data_set": name,
            "way": way,
            "sweeps": {s: v for s, points in SWEEPS.items() for v, n in points.items() if n == way},
            "rate": all_[0]["rate"],
            "test": means[way],
            "deviation": deviation([one["test"] for one in all_]),
            "validation": statistics.mean(one["validation"] for one in all_),
            "less": (means["exact"] - means[way]) * 100,
            "recovery": recovery(means[way], high, low),
            "alignment": [
                statistics.mean(layer)
                for layer in zip(*(one["alignment"] for one in all_), strict=True)
                if None not in layer
            ],
            "shots": all_[0]["shots"],
            "seeds": {str(one["seed"]): one["test"] for one in all_},
            "train_loss": {str(one["seed"]): one["train_loss"] for one in all_},
        }
        for way, all_ in runs.items()
    ]


def table(rows: list[dict[str, Any]], epochs: int) -> Table:
    """Return the rows as a table."""
    lines = [
        (
            row["data_set"],
            row["way"],
            f"{row['test']:.2%}",
            "–" if row["deviation"] is None else f"{row['deviation'] * 100:.2f}",
            f"{-row['less']:+.2f}" if row["less"] else "0",
            number(row["recovery"], ".0%"),
            " / ".join(number(cosine, ".2f") for cosine in row["alignment"]) or "–",
        )
        for row in rows
    ]
    return Table(
        title=f"Direct feedback alignment through light, {epochs} epochs",
        columns=("data", "feedback path", "test accuracy", "±", "points", "recovery", "alignment"),
        rows=lines,
        notes=(
            "Mean over seeds; ±: one standard deviation. Points: above or below exact feedback. "
            "Recovery: the share of what backprop gains over frozen hidden layers. Alignment: "
            "cosine of each hidden layer's update with the true gradient at the end. Scored on the "
            "test split once, with the final weights. The learning rates of backprop, exact "
            "feedback and frozen layers are chosen on the validation split; all optical runs use "
            "the rate of exact feedback.",
        ),
    )


if __name__ == "__main__":
    command_line(main)
