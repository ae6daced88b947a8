"""The accuracy of networks that choose among fixed random weights, compared with learned weights.

    python -m benchmarks.slots.accuracy --data_set mnist --epochs 30
    python -m benchmarks.slots.accuracy --data_set cifar --epochs 6 --cases learned "K=8" frozen

Every run is cached in a folder and not repeated.
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
from benchmarks.slots.training import METHODS, SETS, run
from beyondprop.errors import UserError
from beyondprop.experiment.summary import deviation


def main(
    data_set: str = "mnist",
    epochs: int = 30,
    repeats: int = 3,
    cases: tuple[str, ...] = tuple(METHODS),
    workers: int = 2,
    device: str = "cpu",
    runs: Path = Path("runs/slots"),
    output: Path | None = None,
) -> None:
    """Train a network by choosing and by ordinary training, from several seeds.

    Args:
        data_set: mnist (LeNet-300-100), cifar (CONV-2), cifar-4 or cifar-6.
        epochs: Passes over the training samples.
        repeats: The number of seeds, from 0.
        cases: The ways to learn.
        workers: Parallel runs, each with one thread.
        device: The device of the computation: cpu, cuda, ...
        runs: Folder that caches each run.
        output: The file of the record. Default: results/slots/accuracy-DATA_SET.json.
    """
    if data_set not in SETS:
        raise UserError(f"there is no data set '{data_set}'; there are {', '.join(SETS)}")
    unknown = [case for case in cases if case not in METHODS]
    if unknown:
        raise UserError(f"no case is called '{unknown[0]}'; there are {', '.join(METHODS)}")
    started = datetime.now(UTC)
    jobs = {
        f"{case}-{seed}": partial(run, data_set, case, seed, epochs, device, print)
        for seed in range(repeats)
        for case in cases
    }
    found = cached_runs(runs / f"{data_set}-{epochs}", jobs, workers)
    rows = summary(list(found.values()))
    spec = {"data_set": data_set, "epochs": epochs, "seeds": repeats, "cases": list(cases)}
    save(
        "slots/accuracy",
        spec,
        rows,
        table(data_set, epochs, rows),
        started,
        output or Path(f"results/slots/accuracy-{data_set}.json"),
    )


def summary(figures: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one row per method: its mean, deviation and recovery, and each run."""
    by_case: dict[str, list[dict[str, Any]]] = {}
    for one in figures:
        by_case.setdefault(one["variant"], []).append(one)
    means = {c: statistics.mean(f["test_accuracy"] for f in fs) for c, fs in by_case.items()}
    low, high = means.get("frozen"), means.get("learned")
    return [
        {
            "variant": case,
            "rate": found[0]["rate"],
            "epochs": found[0]["epochs"],
            "test_accuracy": means[case],
            "deviation": deviation([f["test_accuracy"] for f in found]),
            "recovery": recovery(means[case], high, low),
            "drawn_accuracy": None
            if found[0].get("drawn_accuracy") is None
            else statistics.mean(f["drawn_accuracy"] for f in found),
            "seeds": {str(f["seed"]): f["test_accuracy"] for f in found},
            "train_loss": {str(f["seed"]): f["train_loss"][-1] for f in found},
        }
        for case, found in by_case.items()
    ]


def drawn(rows: list[dict[str, Any]]) -> str:
    """Return a note on methods whose weights can also be drawn."""
    return "".join(
        f" ({row['variant']}: the likeliest ones; with drawn ones {row['drawn_accuracy']:.2%})"
        for row in rows
        if row["drawn_accuracy"] is not None
    )


def table(data_set: str, epochs: int, rows: list[dict[str, Any]]) -> Table:
    """Return the rows as a table."""
    network = "LeNet-300-100 on MNIST" if data_set == "mnist" else "CIFAR-10 (JPEG)"
    return Table(
        title=f"Slot machines and learned weights: {network} ({data_set}), {epochs} epochs",
        columns=("weights", "seeds", "test accuracy", "±", "recovery", "learning rate"),
        rows=[
            (
                row["variant"],
                str(len(row["seeds"])),
                f"{row['test_accuracy']:.2%}",
                "–" if row["deviation"] is None else f"{row['deviation'] * 100:.2f}",
                number(row["recovery"], ".0%"),
                f"{row['rate']:g}",
            )
            for row in rows
        ],
        notes=(
            "Trained on all training samples with the learning rates of the paper, so no setting "
            "was chosen. Scored on the test split once, with the final weights"
            + drawn(rows)
            + ". ±: one standard deviation over "
            "seeds. Recovery: the share of the gain of learned weights over frozen random hidden "
            "layers.",
        ),
    )


if __name__ == "__main__":
    command_line(main)
