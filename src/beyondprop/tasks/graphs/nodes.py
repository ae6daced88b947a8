"""Nodes of one graph as samples, and the selection of training nodes for a run."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from beyondprop.errors import UserError
from beyondprop.tasks.samples import Data, Rows, Samples
from beyondprop.tasks.splitting import hold_out

Inputs = tuple[Tensor, Tensor, Tensor]
"""The arguments of a model: features of all nodes, edges, and the requested nodes."""


@dataclass(frozen=True, eq=False)
class Graph:
    """A graph whose nodes have features and classes.

    Attributes:
        features: ``(nodes, features)`` float.
        edges: Sources and targets, ``(2, edges)`` int64; see `both_ways`.
        classes: ``(nodes,)`` int64; -1 if unknown.

    Raises:
        UserError: The shapes do not match, or an edge refers to a missing node.
    """

    features: Tensor
    edges: Tensor
    classes: Tensor

    def __post_init__(self) -> None:
        nodes = len(self.features)
        if self.features.ndim != 2 or self.classes.shape != (nodes,):
            raise UserError(
                "a graph needs features (nodes, features) and classes (nodes,), got "
                f"{tuple(self.features.shape)} and {tuple(self.classes.shape)}"
            )
        if self.edges.ndim != 2 or len(self.edges) != 2 or self.edges.dtype != torch.int64:
            raise UserError(
                f"edges are (2, edges) int64, not {tuple(self.edges.shape)} {self.edges.dtype}"
            )
        if self.edges.numel() and not 0 <= self.edges.min() <= self.edges.max() < nodes:
            raise UserError(f"an edge leads to a node that is not one of the {nodes}")

    @cached_property
    def known(self) -> Tensor:
        """The numbers of the nodes with known classes, ``(n,)``."""
        return (self.classes >= 0).nonzero().flatten()

    def to(self, device: torch.device | str) -> "Graph":
        """Return the graph on a device."""
        return Graph(self.features.to(device), self.edges.to(device), self.classes.to(device))


@dataclass(frozen=True, eq=False)
class Nodes(Samples):
    """Nodes of one graph. A batch's inputs are the complete graph and the requested nodes.

    Attributes:
        graph: The graph.
        numbers: Numbers of the nodes, ``(n,)`` int64.

    Raises:
        UserError: There are no nodes.
    """

    graph: Graph
    numbers: Tensor

    def __post_init__(self) -> None:
        if not len(self.numbers):
            raise UserError("a split needs samples, but there are no nodes")

    @property
    def device(self) -> torch.device:
        """Device of the graph."""
        return self.graph.features.device

    def __len__(self) -> int:
        return len(self.numbers)

    def batch(self, rows: Rows) -> tuple[Inputs, Tensor]:
        """Return the graph with the numbers of these nodes, and their classes."""
        graph, nodes = self.graph, self.numbers[rows].to(self.device)
        return (graph.features, graph.edges, nodes), graph.classes[nodes]

    def some(self, rows: Tensor) -> "Nodes":
        """Return only these nodes."""
        return Nodes(self.graph, self.numbers[rows])

    def to(self, device: torch.device | str) -> "Nodes":
        """Return the same nodes with the graph on a device."""
        return Nodes(self.graph.to(device), self.numbers)


def features(inputs: Inputs) -> Tensor:
    """Return the features of the requested nodes, without the graph."""
    x, _, nodes = inputs
    return x[nodes]


def both_ways(edges: Tensor) -> Tensor:
    """Return edges in both directions, each once, without self-loops.

    Args:
        edges: ``(2, edges)`` int64, in any direction and order.

    Returns:
        ``(2, edges)``, in the order of the targets.
    """
    apart = edges[:, edges[0] != edges[1]]
    by_target: Tensor = torch.cat([apart, apart.flip(0)], 1).unique(dim=1)
    return by_target.flip(0)


def shares(x: Tensor) -> Tensor:
    """Return features as shares of their sum in each row; a row of zeros is unchanged."""
    total = x.sum(1, keepdim=True)
    return x / torch.where(total == 0, 1, total)


def in_parts(name: str, graph: Graph, classes: tuple[str, ...], validation: int, test: int) -> Data:
    """Return a graph's nodes in three fixed splits; `drawn` draws training nodes from the first.

    Args:
        name: Name of the data.
        graph: The graph; nodes without a class are in no split.
        classes: Names of the classes.
        validation: Number of nodes for validation.
        test: Number of nodes for the test.

    Raises:
        UserError: No node is left for training.
    """
    known = graph.known
    if validation + test >= len(known):
        raise UserError(
            f"{name} has {len(known)} nodes of known class: {validation} for validation and {test} "
            "for the test leave none for training"
        )
    order = torch.from_numpy(np.random.RandomState(0).permutation(len(known)))
    parts = known[order].split([len(known) - validation - test, validation, test])
    train, held, tested = (Nodes(graph, part.sort().values) for part in parts)
    return Data(name, train, held, tested, classes)


def drawn(per_class: int, data: Data, seed: int) -> Data:
    """Return the data with `per_class` training samples of each class, drawn with a seed.

    Raises:
        UserError: A class has too few.
    """
    _, targets = data.train.batch(slice(len(data.train)))
    _, rows = hold_out(targets.cpu(), per_class, seed)
    return replace(data, train=data.train.some(rows))
