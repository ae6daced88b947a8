"""Robustness measured through a rule's feedback graph, and by exact gradients.

    python -m benchmarks.audit.through_feedback

BioTorch (Sanfiz and Akrout, arXiv 2108.13446) attacked networks trained by feedback alignment
through the graph that the rules define, and reported more robustness than with backprop. Such an
attack follows a direction that is not a gradient of the loss. Here the same weights are attacked
twice by projected gradient descent (PGD), with the same steps from the same starts: through the
rule's graph, and by exact gradients. The network is that of `cifar-conv`, with the learning rates
that the search of that comparison chose for Adam.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.audit import tables
from benchmarks.common.cached_runs import Figures, cached_runs
from benchmarks.common.command_line import command_line
from benchmarks.common.records import load, save
from benchmarks.common.tables import Table
from benchmarks.common.timing import set_threads
from beyondprop import attach, exact_gradients, rules
from beyondprop.audit.robustness import Pgd, Ranges
from beyondprop.tasks import Data, Split, find

TASK, RATES = "cifar-conv", "comparisons/cifar-conv-adam"
RULES = ("backprop", "fa", "usf", "dfa")
LEVELS = (0.0, 2 / 255, 4 / 255, 8 / 255)
"""The largest change of each feature, as a share of its range."""
BATCH = 64


def part(samples: Any, count: int) -> Split:
    """Return the first samples."""
    return Split(*samples.batch(torch.arange(min(count, len(samples)))))


def trained(data: Data, images: int, rule: str, seed: int, epochs: int) -> tuple[nn.Module, float]:
    """Return a network that a rule has trained and that stays attached, and its learning rate."""
    (rate,) = (row["learning_rate"] for row in load(RATES)["rows"] if row["rule"] == rule)
    task, train = find(TASK), part(data.train, images)
    torch.manual_seed(seed)
    model = task.model()
    handle = attach(model, rules.make(rule, seed))
    optimizer = torch.optim.Adam([*model.parameters(), *handle.parameters()], rate)
    for _ in range(epochs):
        for rows in torch.randperm(len(train)).split(BATCH):
            inputs, targets = train.batch(rows)
            optimizer.zero_grad()
            with handle.targets(targets):
                task.loss(model(inputs), targets).backward()
            optimizer.step()
    return model.eval(), rate


def right(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return which samples a model classifies correctly."""
    with torch.no_grad():
        return torch.as_tensor(model(inputs).argmax(1) == targets)


def withstood(
    model: nn.Module, test: Split, ranges: Ranges, epsilon: float, attack: Pgd, seed: int
) -> float:
    """Return the share of samples that a model classifies correctly before and after an attack that
    uses the model's own graph.
    """
    inputs, targets = test.batch(slice(0, len(test)))
    kept = right(model, inputs, targets)
    if epsilon:
        torch.manual_seed(seed)
        units = attack.perturbed(
            lambda units: model(ranges.inputs(units)), ranges.units(inputs), targets, epsilon
        )
        kept &= right(model, ranges.inputs(units), targets)
    return kept.double().mean().item()


def of_seed(seed: int, images: int, attacked: int, epochs: int) -> Figures:
    """Return the accuracy of each rule's network under both attacks."""
    set_threads(1)
    data = find(TASK).load(None)
    test, ranges, attack = part(data.test, attacked), Ranges.of(data.train), Pgd()
    rows = []
    for rule in RULES:
        model, rate = trained(data, images, rule, seed, epochs)
        under = partial(withstood, model, test, ranges, attack=attack, seed=seed)
        through = [under(epsilon=level) for level in LEVELS]
        with exact_gradients(model):
            exact = [under(epsilon=level) for level in LEVELS]
        rows.append({"rule": rule, "seed": seed, "rate": rate, "through": through, "exact": exact})
    return {"rows": rows}


def main(
    images: int = 10_000,
    attacked: int = 500,
    epochs: int = 5,
    repeats: int = 3,
    workers: int = 1,
    runs: Path = Path("runs/audit"),
    output: Path = Path("results/audit/through_feedback.json"),
) -> None:
    """Train by each rule, and attack the same weights in both ways.

    Args:
        images: The number of training images.
        attacked: The number of attacked test samples.
        epochs: Passes over the images.
        repeats: The number of seeds, from 0.
        workers: Parallel processes.
        runs: Folder that caches each seed.
        output: The file of the record; the table is written next to it.
    """
    started = datetime.now(UTC)
    asked = {"images": images, "attacked": attacked, "epochs": epochs}
    wanted = {f"seed {seed}": partial(of_seed, seed, **asked) for seed in range(repeats)}
    folder = runs / f"through_feedback-{images}-{attacked}-{epochs}"
    found = cached_runs(folder, wanted, workers).values()
    rows = [row for seed in found for row in seed["rows"]]
    save("audit/through_feedback", asked | {"seeds": repeats}, rows, table(rows), started, output)


def table(rows: Sequence[dict[str, Any]]) -> Table:
    """Return the table of the results."""
    return Table(
        "Robustness through a feedback graph, and by exact gradients",
        *tables.through_feedback(rows, LEVELS),
        notes=(
            "Accuracy on test samples before and after projected gradient descent (PGD), in "
            "percent, mean over seeds; ± is half of Student's 95% interval. Weights, steps and "
            "starts are the same. One attack goes through the rule's own graph, as a plain call of "
            "autograd does; the other uses exact gradients.",
        ),
    )


if __name__ == "__main__":
    command_line(main)
