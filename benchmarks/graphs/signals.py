"""Where direct feedback arrives in a graph network, and what that does on Cora.

    python -m benchmarks.graphs.signals

A hidden layer's signal may arrive at each node, or behind the propagation that carries the hidden
features to the output layer. At each node only labelled nodes have an error, so these alone are
taught. Behind the propagation it comes back along the edges, unchanged, and their neighbours are
taught too, as by backprop. Every way tries the same learning rates and weight decays on the
validation nodes of one draw; then it is trained on other draws of the training nodes.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, cross_entropy

import beyondprop as bp
from benchmarks.common.command_line import command_line
from benchmarks.common.records import RESULTS, save
from benchmarks.common.tables import Table
from benchmarks.graphs import tables
from beyondprop.core import Rule
from beyondprop.models import graph
from beyondprop.tasks import Data, accuracy
from beyondprop.tasks.graphs import drawn
from beyondprop.tasks.graphs.cora import CLASSES, WORDS, load_cora

RATES = (0.003, 0.01, 0.03)
DECAYS = (1e-4, 5e-4)
TUNING_SEED = 100
PER_CLASS = 20

Named = tuple[str | tuple[str, ...], ...]


@dataclass(frozen=True)
class Way:
    """How the hidden layer is taught.

    Attributes:
        name: Of the way.
        rule: What teaches.
        blocks: Of the network.
        output: Where the error is taken.
    """

    name: str
    rule: Rule
    blocks: Named = graph.BLOCKS
    output: str = graph.OUTPUT


BEHIND: Named = (("conv1", "activation", "dropout", "conv2.propagation"), "conv2.linear")

WAYS = (
    Way("backprop", bp.Backprop()),
    Way("dfa, at the node", bp.DirectFeedbackAlignment()),
    Way("dfa, behind the propagation", bp.DirectFeedbackAlignment(), BEHIND, "conv2.linear"),
)

NETWORKS = {
    "gcn": graph.gcn,
    "cheb, 2 terms": partial(graph.cheb, terms=2),
    "cheb, 3 terms": graph.cheb,
    "sage": graph.sage,
    "spline": graph.spline,
}


@dataclass(frozen=True)
class Setting:
    """What a training is made with."""

    rate: float
    decay: float
    dropout: float
    epochs: int


@dataclass(frozen=True)
class Trained:
    """A network at the end, and what it scores."""

    train: float
    validation: float
    test: float
    taught: int
    alignment: float


def main(
    output: Path = RESULTS / "graphs" / "signals.json",
    cases: list[str] | None = None,
    seeds: int = 5,
    epochs: int = 200,
    dropouts: list[float] | None = None,
    threads: int = 1,
) -> None:
    """Train every network in every way.

    Args:
        output: The record.
        cases: Networks; all by default.
        seeds: Draws of the training nodes, after the one that is tuned on.
        epochs: Of a training; an epoch is one step.
        dropouts: Shares of features that are dropped; .5 by default.
        threads: Of PyTorch.
    """
    torch.set_num_threads(threads)
    started = datetime.now(UTC)
    chosen, data = cases or list(NETWORKS), load_cora()
    shares = dropouts or [0.5]
    rows = [
        row(name, way, data, seeds, dropout, epochs)
        for name, way, dropout in product(chosen, WAYS, shares)
    ]
    spec = {"networks": chosen, "seeds": seeds, "epochs": epochs, "dropouts": shares}
    save("graphs/signals", spec, rows, Table(*tables.signals(rows)), started, output)


def row(name: str, way: Way, data: Data, seeds: int, dropout: float, epochs: int) -> dict[str, Any]:
    """Return the figures of a network taught in a way: tuned on one draw, trained on others."""
    tried = [Setting(*pair, dropout, epochs) for pair in product(RATES, DECAYS)]
    found = [trained(name, way, data, TUNING_SEED, setting) for setting in tried]
    best = max(range(len(tried)), key=lambda i: found[i].validation)
    runs = [trained(name, way, data, seed, tried[best]) for seed in range(seeds)]
    made = {
        "network": name,
        "way": way.name,
        "dropout": dropout,
        "rate": tried[best].rate,
        "weight_decay": tried[best].decay,
        "train": [run.train for run in runs],
        "test": [run.test for run in runs],
        "taught": [run.taught for run in runs],
        "alignment": [run.alignment for run in runs],
    }
    print(made)
    return made


def trained(name: str, way: Way, data: Data, seed: int, setting: Setting) -> Trained:
    """Return a network trained on the draw of a seed."""
    own = drawn(PER_CLASS, data, seed)
    torch.manual_seed(seed)
    model = NETWORKS[name](WORDS, CLASSES, dropout=setting.dropout)
    handle = bp.attach(model, way.rule, way.blocks, graph.AXES, way.output)
    optimizer = torch.optim.Adam(model.parameters(), setting.rate, weight_decay=setting.decay)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0, setting.epochs)
    inputs, targets = own.train.batch(slice(None))
    for _ in range(setting.epochs):
        optimizer.zero_grad()
        with handle.targets(targets):
            cross_entropy(model(*inputs), targets).backward()
        optimizer.step()
        schedule.step()
    model.eval()
    with handle.targets(targets):
        taught, alignment = signal(model, inputs, targets)
    parts = (own.train, own.validation, own.test)
    return Trained(*(scored(model, part.batch(slice(None))) for part in parts), taught, alignment)


def signal(model: nn.Module, inputs: Any, targets: Tensor) -> tuple[int, float]:
    """Return how many nodes of the hidden layer are taught, and how the gradient of the first
    layer's weights is aligned with the true one.
    """
    found: list[Tensor] = []
    activation: nn.Module = model.activation  # type: ignore[assignment]
    hook = activation.register_full_backward_hook(lambda *given: found.append(given[2][0]))
    weight = model.conv1.linear.weight  # type: ignore[union-attr]
    (own,) = torch.autograd.grad(cross_entropy(model(*inputs), targets), weight)
    hook.remove()
    with bp.exact_gradients(model):
        (true,) = torch.autograd.grad(cross_entropy(model(*inputs), targets), weight)
    alignment = cosine_similarity(own.flatten(), true.flatten(), dim=0).item()
    return int(found[0].any(1).sum()), alignment


@torch.no_grad()
def scored(model: nn.Module, batch: tuple[Any, Tensor]) -> float:
    """Return the accuracy on a batch."""
    inputs, targets = batch
    return accuracy(model(*inputs), targets)


if __name__ == "__main__":
    command_line(main)
