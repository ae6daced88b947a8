"""Five tasks one after another: a bank of selections, compared with ordinary training.

    python -m benchmarks.slots.continual

Permuted MNIST (the same digits, with another permutation of pixels for each task) and split MNIST
(0 or 1, 2 or 3, ... with the same two outputs), LeNet-300-100. Three ways: one network of fixed
random values with a packed selection for each task; one network of learned weights that learns the
tasks one after another; and, as the upper control, a network of learned weights for each task. The
task is given.
"""

import statistics
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.common.cached_runs import cached_runs
from benchmarks.common.command_line import command_line
from benchmarks.common.records import save
from benchmarks.common.tables import Table, percent
from benchmarks.slots.training import GREEDY, SETS, fit
from beyondprop import slots
from beyondprop.experiment.summary import deviation
from beyondprop.tasks import Split, accuracy
from beyondprop.tasks.slot_machines import lenet_300_100

TASKS, SLOTS, RATE = 5, 8, 0.1
GUESSES, GUESSED_BY = 20, 128
"""The number of inferences of the task, and the number of samples for each."""

Pair = tuple[Split, Split]
"""Training and test samples."""


def permuted(train: Split, test: Split) -> list[Pair]:
    """Return tasks of the same images, each with its own permutation of pixels."""
    orders = [torch.randperm(train.inputs[0].numel()) for _ in range(TASKS)]

    def shuffled(part: Split, order: Tensor) -> Split:
        return Split(part.inputs.flatten(1)[:, order], part.targets)

    return [(shuffled(train, order), shuffled(test, order)) for order in orders]


def split(train: Split, test: Split) -> list[Pair]:
    """Return tasks of two digits each."""

    def two(part: Split, task: int) -> Split:
        rows = part.targets // 2 == task
        return Split(part.inputs[rows], part.targets[rows] % 2)

    return [(two(train, task), two(test, task)) for task in range(TASKS)]


SCENARIOS: dict[str, Callable[[Split, Split], list[Pair]]] = {"permuted": permuted, "split": split}


def network(scenario: str) -> nn.Sequential:
    """Return LeNet-300-100 with one output per class of a task."""
    model = lenet_300_100()
    if scenario == "split":
        model[-1] = nn.Linear(100, 2)
    return model


@torch.no_grad()
def outputs(model: nn.Module, part: Split) -> Tensor:
    """Return the logits of all samples."""
    return torch.cat([model.eval()(x) for x in part.inputs.split(1000)])


def silent(_: str) -> None:
    """Ignore a message."""


def with_bank(scenario: str, tasks: list[Pair], epochs: int, seed: int) -> dict[str, Any]:
    """Learn all tasks with one network of fixed random values."""
    model = network(scenario)
    slots.convert(model, SLOTS, seed=seed)
    bank = slots.bank(model)
    before = []
    for number, (train, test) in enumerate(tasks):
        bank.restart()
        fit(model, train, GREEDY, epochs, False, silent)
        bank.keep(str(number))
        before.append(outputs(model, test))
    after = []
    for number, (_, test) in enumerate(tasks):
        bank.use(str(number))
        after.append(outputs(model, test))
    figures = scores(tasks, before, after)
    figures["bits"] = bank.bits
    figures["bytes"] = bank.size("0")
    for name, infer in (("one_shot", bank.infer), ("lowest_entropy", bank.infer_each)):
        hits = [
            infer(test.inputs[rows]) == str(number)
            for number, (_, test) in enumerate(tasks)
            for rows in torch.randint(len(test), (GUESSES, GUESSED_BY))
        ]
        figures[f"inferred_{name}"] = statistics.mean(hits)
    return figures


def in_turn(scenario: str, tasks: list[Pair], epochs: int, _seed: int) -> dict[str, Any]:
    """Learn all tasks with one network of learned weights, one after another."""
    model = network(scenario)
    before = []
    for train, test in tasks:
        fit(model, train, RATE, epochs, False, silent)
        before.append(outputs(model, test))
    figures = scores(tasks, before, [outputs(model, test) for _, test in tasks])
    return figures | {"bits": 32 / TASKS, "bytes": size(model) / TASKS}


def one_each(scenario: str, tasks: list[Pair], epochs: int, _seed: int) -> dict[str, Any]:
    """Learn each task with its own network."""
    found = []
    for train, test in tasks:
        model = network(scenario)
        fit(model, train, RATE, epochs, False, silent)
        found.append(outputs(model, test))
    return scores(tasks, found, found) | {"bits": 32, "bytes": size(model)}


def size(model: nn.Module) -> int:
    """Return the bytes of all parameters."""
    return sum(p.numel() * p.element_size() for p in model.parameters())


def scores(tasks: list[Pair], before: list[Tensor], after: list[Tensor]) -> dict[str, Any]:
    """Return the accuracy on each task after learning it, and at the end."""
    learned = [accuracy(out, test.targets) for out, (_, test) in zip(before, tasks, strict=True)]
    final = [accuracy(out, test.targets) for out, (_, test) in zip(after, tasks, strict=True)]
    return {
        "learned": learned,
        "final": final,
        "forgetting": statistics.mean(a - b for a, b in zip(learned, final, strict=True)),
        "same_bits": all(torch.equal(a, b) for a, b in zip(before, after, strict=True)),
    }


METHODS = {
    "bank of selections, K=8": with_bank,
    "learned weights, in turn": in_turn,
    "learned weights, a network each": one_each,
}


def run(scenario: str, way: str, epochs: int, seed: int) -> dict[str, Any]:
    """Return the figures of one way from one seed."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    tasks = SCENARIOS[scenario](*SETS["mnist"].load())
    return METHODS[way](scenario, tasks, epochs, seed)


def main(
    epochs: int = 5,
    repeats: int = 3,
    workers: int = 2,
    runs: Path = Path("runs/slots-tasks"),
    output: Path = Path("results/slots/continual.json"),
) -> None:
    """Learn five tasks one after another in three ways.

    Args:
        epochs: Passes over each task's samples.
        repeats: The number of seeds, from 0.
        workers: Parallel runs, each with one thread.
        runs: Folder that caches each run.
        output: The file of the record.
    """
    started = datetime.now(UTC)
    jobs = {
        f"{scenario}-{way}-{epochs}-{seed}": partial(run, scenario, way, epochs, seed)
        for seed in range(repeats)
        for scenario in SCENARIOS
        for way in METHODS
    }
    found = cached_runs(runs, jobs, workers)
    rows = [
        row(scenario, way, [found[f"{scenario}-{way}-{epochs}-{s}"] for s in range(repeats)])
        for scenario in SCENARIOS
        for way in METHODS
    ]
    spec = {"epochs": epochs, "seeds": repeats, "tasks": TASKS, "slots": SLOTS}
    save("slots/continual", spec, rows, table(rows, epochs), started, output)


def row(scenario: str, way: str, found: list[Any]) -> dict[str, Any]:
    """Return the means over seeds, and all single results."""

    def over(name: str) -> tuple[float, float]:
        values = [statistics.mean(f[name]) for f in found]
        return statistics.mean(values), deviation(values) or 0.0

    return {
        "scenario": scenario,
        "way": way,
        "final_mean": over("final")[0],
        "final_std": over("final")[1],
        "learned_mean": over("learned")[0],
        "forgetting": statistics.mean(f["forgetting"] for f in found),
        "same_bits": all(f["same_bits"] for f in found),
        "bits": found[0]["bits"],
        "bytes": found[0]["bytes"],
        "inferred": {
            name: statistics.mean(f[f"inferred_{name}"] for f in found)
            for name in ("one_shot", "lowest_entropy")
            if f"inferred_{name}" in found[0]
        },
        "runs": found,
    }


def table(rows: list[dict[str, Any]], epochs: int) -> Table:
    """Return the rows as a table."""
    return Table(
        title=f"Five MNIST tasks one after another, {epochs} epochs each",
        columns=(
            "tasks",
            "way",
            "accuracy at the end",
            "forgetting",
            "outputs as learned",
            "bits per weight and task",
            "task inferred",
        ),
        rows=[
            (
                r["scenario"],
                r["way"],
                percent(r["final_mean"], r["final_std"]),
                f"{r['forgetting'] * 100:.2f} points",
                "to the bit" if r["same_bits"] else "changed",
                f"{r['bits']:g}",
                " / ".join(f"{share:.0%}" for share in r["inferred"].values()) or "–",
            )
            for r in rows
        ],
        notes=(
            "Accuracy: the mean over the five tasks, on test samples, with the task given; ±: one "
            "standard deviation over seeds. Forgetting: the mean loss of accuracy on a task by the "
            f"end. Task inferred: from {GUESSED_BY} test samples without labels, by one pass and a "
            "gradient / by the lowest entropy of five passes.",
        ),
    )


if __name__ == "__main__":
    command_line(main)
