"""How well networks learn by choosing among fixed random weights, beside learned weights.

    python benchmarks/slots_accuracy.py --data_set mnist --epochs 30
    python benchmarks/slots_accuracy.py --data_set cifar --epochs 6 --cases learned "K=8" frozen

Every run is kept in a folder as soon as it is over, and not repeated when the command is.
"""

import json
import statistics
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from results import Sheet, command_line, save
from slot_runs import SETS, VARIANTS, run

from beyondprop.errors import UserError
from beyondprop.experiment.progress import bar, bars
from beyondprop.experiment.storage import write_json


def main(
    data_set: str = "mnist",
    epochs: int = 30,
    repeats: int = 3,
    cases: tuple[str, ...] = tuple(VARIANTS),
    workers: int = 2,
    device: str = "cpu",
    runs: Path = Path("runs/slots"),
    output: Path | None = None,
) -> None:
    """Train a network by choosing and by ordinary training, from several seeds.

    Args:
        data_set: mnist (LeNet-300-100), cifar (CONV-2), cifar-4 or cifar-6.
        epochs: Passes over the training samples.
        repeats: How many seeds, from 0 on.
        cases: The ways to learn.
        workers: Runs side by side, each with one thread.
        device: Where to compute: cpu, cuda, ...
        runs: Folder that keeps each run.
        output: Where the record goes. Default: results/slots_accuracy-DATA_SET.json.
    """
    if data_set not in SETS:
        raise UserError(f"there is no data set '{data_set}'; there are {', '.join(SETS)}")
    unknown = [case for case in cases if case not in VARIANTS]
    if unknown:
        raise UserError(f"no case is called '{unknown[0]}'; there are {', '.join(VARIANTS)}")
    started = datetime.now(UTC)
    jobs = [(data_set, case, seed, epochs) for seed in range(repeats) for case in cases]
    folder = runs / f"{data_set}-{epochs}"
    done = {job: read(folder, job) for job in jobs}
    with bars() as progress, bar(progress, data_set, len(jobs)) as shown:
        for job, figures in finished([job for job in jobs if done[job] is None], workers, device):
            done[job] = figures
            write_json(place(folder, job), figures)
            progress.update(shown, completed=sum(f is not None for f in done.values()))
    rows = summary([figures for figures in done.values() if figures is not None])
    spec = {"data_set": data_set, "epochs": epochs, "seeds": repeats, "cases": list(cases)}
    save(
        "slots_accuracy",
        spec,
        rows,
        sheet(data_set, epochs, rows),
        started,
        output or Path(f"results/slots_accuracy-{data_set}.json"),
    )


def finished(
    jobs: list[tuple[str, str, int, int]], workers: int, device: str
) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yield each job with its figures when it is over."""
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(run, *job, device, print): job for job in jobs}
        for future in as_completed(futures):
            yield futures[future], future.result()


def place(folder: Path, job: tuple[str, str, int, int]) -> Path:
    """Return the file of a run."""
    _, case, seed, _ = job
    return folder / f"{case.replace(' ', '_').replace(',', '')}-{seed}.json"


def read(folder: Path, job: tuple[str, str, int, int]) -> dict[str, Any] | None:
    """Return the figures of a run that is over, or None."""
    path = place(folder, job)
    return json.loads(path.read_text("utf-8")) if path.exists() else None


def summary(figures: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one row a variant: its mean, deviation and recovery, and each run."""
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
            "deviation": statistics.stdev(f["test_accuracy"] for f in found)
            if len(found) > 1
            else None,
            "recovery": (means[case] - low) / (high - low) if low and high else None,
            "drawn_accuracy": None
            if found[0].get("drawn_accuracy") is None
            else statistics.mean(f["drawn_accuracy"] for f in found),
            "seeds": {str(f["seed"]): f["test_accuracy"] for f in found},
            "train_loss": {str(f["seed"]): f["train_loss"][-1] for f in found},
        }
        for case, found in by_case.items()
    ]


def drawn(rows: list[dict[str, Any]]) -> str:
    """Return what is to be said of variants whose weights can be drawn too."""
    return "".join(
        f" ({row['variant']}: the likeliest ones; with drawn ones {row['drawn_accuracy']:.2%})"
        for row in rows
        if row["drawn_accuracy"] is not None
    )


def sheet(data_set: str, epochs: int, rows: list[dict[str, Any]]) -> Sheet:
    """Return the rows as a table."""
    network = "LeNet-300-100 on MNIST" if data_set == "mnist" else "CIFAR-10 (JPEG)"
    return Sheet(
        title=f"Slot machines and learned weights: {network} ({data_set}), {epochs} epochs",
        columns=("weights", "seeds", "test accuracy", "±", "recovery", "learning rate"),
        rows=[
            (
                row["variant"],
                str(len(row["seeds"])),
                f"{row['test_accuracy']:.2%}",
                "–" if row["deviation"] is None else f"{row['deviation'] * 100:.2f}",
                "–" if row["recovery"] is None else f"{row['recovery']:.0%}",
                f"{row['rate']:g}",
            )
            for row in rows
        ],
        notes=(
            "Trained on all training samples with published learning rates, so nothing was chosen; "
            "scored on the test split once, with the last weights"
            + drawn(rows)
            + ". ±: one standard deviation over "
            "seeds. Recovery: the share of what learned weights gain over frozen random hidden "
            "layers.",
        ),
    )


if __name__ == "__main__":
    command_line(main)
