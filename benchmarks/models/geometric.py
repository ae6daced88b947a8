"""Graph networks of PyTorch Geometric, as in its own introduction."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmarks.models.case import Batch, Case
from benchmarks.models.networks.graph import GraphClassifier, NodeClassifier

FEATURES, WIDTH, CLASSES, NODES, GRAPHS = 6, 16, 3, 20, 4


def conv(name: str, inputs: int, outputs: int, **settings: Any) -> nn.Module:
    """Return a convolution by the name of its class."""
    import torch_geometric.nn as geometric

    layer: nn.Module = getattr(geometric, name)(inputs, outputs, **settings)
    return layer


def isomorphism(inputs: int, outputs: int) -> nn.Module:
    """Return a convolution with a perceptron for the nodes."""
    import torch_geometric.nn as geometric

    mlp = nn.Sequential(nn.Linear(inputs, outputs), nn.ReLU(), nn.Linear(outputs, outputs))
    return geometric.GINConv(mlp)


def on_nodes(make: Callable[[int, int], nn.Module]) -> nn.Module:
    return NodeClassifier(make, FEATURES, WIDTH, CLASSES)


def on_graphs() -> nn.Module:
    import torch_geometric.nn as geometric

    return GraphClassifier(isomorphism, geometric.global_add_pool, FEATURES, WIDTH, CLASSES)


def edges() -> torch.Tensor:
    """Return the edges of rings of five nodes, one ring per graph, in both directions."""
    ring = torch.tensor([[0, 1, 2, 3, 4], [1, 2, 3, 4, 0]])
    rings = torch.cat([ring + 5 * graph for graph in range(GRAPHS)], 1)
    return torch.cat([rings, rings.flip(0)], 1)  # (2, edges)


def features() -> torch.Tensor:
    return torch.linspace(-1, 1, NODES * FEATURES).mul(9).sin().view(NODES, FEATURES)


def nodes() -> Batch:
    return Batch({"x": features(), "edge_index": edges()}, torch.arange(NODES) % CLASSES)


def graphs() -> Batch:
    graph = torch.arange(NODES) // 5
    inputs = {"x": features(), "edge_index": edges(), "batch": graph}
    return Batch(inputs, torch.arange(GRAPHS) % CLASSES)


def of_nodes(name: str, make: Callable[[int, int], nn.Module], classes: int | None = None) -> Case:
    """Return a case with a class for each node."""
    return Case(
        *(name, "graph", partial(on_nodes, make), nodes),
        blocks=("conv1", "conv2"),
        heads=("conv3",),
        loss=cross_entropy,
        package="torch_geometric",
        classes=classes,
    )


CASES = [
    of_nodes("GCN", partial(conv, "GCNConv")),
    of_nodes("GAT", partial(conv, "GATConv", heads=2, concat=False), CLASSES),  # its heads: 6
    of_nodes("Cheb", partial(conv, "ChebConv", K=2)),
    of_nodes("SAGE", partial(conv, "SAGEConv")),
    of_nodes("GIN", isomorphism),
    Case(
        *("GIN, pooled graphs", "graph", on_graphs, graphs),
        blocks=("convs.*",),
        heads=("lin",),
        loss=cross_entropy,
        axes={"convs.*": "nodes features"},
        samples="batch",
        package="torch_geometric",
    ),
]
"""The models, in the order of the table."""
