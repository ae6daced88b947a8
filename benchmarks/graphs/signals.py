"""The place where direct feedback arrives in a graph network, and its effect on Cora.

    python -m benchmarks.graphs.signals

A hidden layer's signal may arrive at each node, or after the propagation that carries the hidden
features to the output layer. At the nodes, only labelled ones have an error, so only these are
taught. After the propagation, the signal returns along the edges without change, so that their
neighbours are taught too, as by backprop. Every way is trained with the same learning rates, on the
same draws of the training nodes; the best rate has the best mean score on the validation nodes.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, cross_entropy

import beyondprop as bp
from benchmarks.common.cached_runs import cached_runs
from benchmarks.common.command_line import command_line
from benchmarks.common.records import save
from benchmarks.common.tables import Table
from benchmarks.graphs import tables
from beyondprop.core import Rule
from beyondprop.experiment.growing import folder_name
from beyondprop.models import graph
from beyondprop.tasks import Data, accuracy
from beyondprop.tasks.graphs import Graph, drawn
from beyondprop.tasks.graphs.cora import CLASSES, WORDS, load_cora

RATES = (0.001, 0.003, 0.01, 0.03, 0.1)
WEIGHT_DECAY = 5e-4
PER_CLASS = 20

Named = tuple[str | tuple[str, ...], ...]


@dataclass(frozen=True)
class Way:
    """A way to teach the hidden layer.

    Attributes:
        name: The name of the way.
        rule: The rule that teaches.
        blocks: The blocks of the network.
        output: The module at whose output the error is taken.
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
    "cheb-2": partial(graph.cheb, terms=2),
    "cheb-3": graph.cheb,
    "sage": graph.sage,
    "spline": graph.spline,
}


@dataclass(frozen=True)
class Form:
    """The settings that all ways share.

    Attributes:
        name: The name of the form.
        dropout: The share of the features that is dropped.
        scaled: Whether words are shares of a paper's words, instead of 0 and 1.
        glorot: Whether weights start as in Glorot and Bengio, instead of PyTorch's linear layers.
    """

    name: str
    dropout: float = 0.5
    scaled: bool = True
    glorot: bool = True

    def data(self, data: Data) -> Data:
        """Return the data in this form."""
        if self.scaled:
            return data
        whole: Graph = data.train.graph  # type: ignore[attr-defined]
        plain = replace(whole, features=(whole.features > 0).float())
        return data.mapped(lambda part: replace(part, graph=plain))  # type: ignore[type-var]

    def model(self, network: str) -> nn.Module:
        """Return a network in this form."""
        model = NETWORKS[network](WORDS, CLASSES, dropout=self.dropout)
        if not self.glorot:
            for layer in (model.conv1.linear, model.conv2.linear):
                layer.reset_parameters()
        return model


FORMS = {
    form.name: form
    for form in (
        Form("as the task"),
        Form("dropout .1", dropout=0.1),
        Form("no dropout", dropout=0.0),
        Form("words not scaled", scaled=False),
        Form("PyTorch's weights", glorot=False),
        Form("none of these", 0.0, scaled=False, glorot=False),
    )
}


@dataclass(frozen=True)
class Trained:
    """A trained network with its scores."""

    train: float
    validation: float
    test: float
    taught: int
    alignment: float


def main(
    output: Path = Path("results/graphs/signals.json"),
    cases: list[str] | None = None,
    forms: list[str] | None = None,
    draws: int = 3,
    epochs: int = 200,
    threads: int = 1,
    runs: Path = Path("runs"),
) -> None:
    """Train every network in every way.

    Args:
        output: The file of the record.
        cases: Networks; all by default.
        forms: Names in `FORMS`; the form of the task by default.
        draws: The number of draws of the training nodes.
        epochs: The number of epochs; an epoch is one step.
        threads: CPU threads of PyTorch.
        runs: Folder that caches finished runs.
    """
    started = datetime.now(UTC)
    chosen, kinds, data = cases or list(NETWORKS), forms or [next(iter(FORMS))], load_cora()
    jobs = {
        f"{name}, {form}, {way.name}, {rate}": partial(
            row, name, FORMS[form], way, rate, data, draws, epochs, threads
        )
        for name, form, way, rate in product(chosen, kinds, WAYS, RATES)
    }
    spec = {"networks": chosen, "forms": kinds, "draws": draws, "epochs": epochs}
    found = cached_runs(runs / folder_name("signals", "cora", spec), jobs, 1)
    rows = [found[name] for name in jobs]
    save("graphs/signals", spec, rows, table(rows), started, output)


def table(rows: list[dict[str, Any]]) -> Table:
    """Return the table of the results."""
    return Table(
        "The nodes that the signal of a graph network's hidden layer reaches, on Cora",
        *tables.signals(rows),
        notes=tables.SIGNALS_NOTES,
    )


def row(
    name: str,
    form: Form,
    way: Way,
    rate: float,
    data: Data,
    draws: int,
    epochs: int,
    threads: int,
) -> dict[str, Any]:
    """Return the figures of a network trained in a way with a learning rate, on each draw."""
    torch.set_num_threads(threads)
    own = form.data(data)
    runs = [
        asdict(trained(form.model, name, way, rate, own, seed, epochs)) for seed in range(draws)
    ]
    figures = {key: [run[key] for run in runs] for key in runs[0]}
    return {"network": name, "form": form.name, "way": way.name, "rate": rate} | figures


def trained(
    make: Callable[[str], nn.Module],
    name: str,
    way: Way,
    rate: float,
    data: Data,
    seed: int,
    epochs: int,
) -> Trained:
    """Return a network trained on the draw of a seed."""
    own = drawn(PER_CLASS, data, seed)
    torch.manual_seed(seed)
    model = make(name)
    handle = bp.attach(model, way.rule, way.blocks, graph.AXES, way.output)
    optimizer = torch.optim.Adam(model.parameters(), rate, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0, epochs)
    inputs, targets = own.train.batch(slice(None))
    for _ in range(epochs):
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
    """Return how many nodes of the hidden layer are taught, and the alignment of the first layer's
    gradient with the true one.
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
