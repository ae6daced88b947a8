"""Graph convolutions (Kipf and Welling 2017), in plain PyTorch and with PyTorch Geometric."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import beyondprop as bp


class GraphConvolution(nn.Module):
    """Mix each node's features with its neighbours'."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        return torch.spmm(adjacency, x @ self.weight) + self.bias


class ByRule(bp.layers.Operation):
    """The computation of a `GraphConvolution`, for rules of layers and slots."""

    transposed = True

    def inputs_of(self, layer: Any) -> dict[str, int]:
        return {"weight": layer.weight.shape[0]}

    def forward(self, layer: Any, at: Any, x: Tensor, adjacency: Tensor) -> Tensor:
        mixed = bp.layers.linear(x, layer.weight.t(), None, at["weight"])
        return torch.spmm(adjacency, mixed) + layer.bias


bp.layers.register_operation(GraphConvolution, ByRule())


class GCN(nn.Module):
    """A classifier of nodes."""

    def __init__(self, inputs: int, width: int, classes: int):
        super().__init__()
        self.gc1 = GraphConvolution(inputs, width)
        self.gc2 = GraphConvolution(width, width)
        self.gc3 = GraphConvolution(width, classes)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        x = F.relu(self.gc1(x, adjacency))
        x = F.dropout(F.relu(self.gc2(x, adjacency)), 0.0, self.training)
        return self.gc3(x, adjacency)  # (nodes, classes)


class NodeClassifier(nn.Module):
    """A classifier of nodes with any convolution of PyTorch Geometric."""

    def __init__(
        self, conv: Callable[[int, int], nn.Module], inputs: int, width: int, classes: int
    ):
        super().__init__()
        self.conv1 = conv(inputs, width)
        self.conv2 = conv(width, width)
        self.conv3 = conv(width, classes)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        x = F.elu(self.conv1(x, edge_index))
        x = F.elu(self.conv2(x, edge_index))
        return self.conv3(x, edge_index)  # (nodes, classes)


class GraphClassifier(nn.Module):
    """A classifier of graphs, which sums their nodes.

    Args:
        conv: Builds a convolution.
        pool: Sums nodes by graph.
        inputs: Features of a node.
        width: Features of a hidden node.
        classes: The number of classes.
    """

    def __init__(
        self,
        conv: Callable[[int, int], nn.Module],
        pool: Callable[[Tensor, Tensor], Tensor],
        inputs: int,
        width: int,
        classes: int,
    ):
        super().__init__()
        self.convs = nn.ModuleList([conv(inputs, width), conv(width, width), conv(width, width)])
        self.pool = pool
        self.lin = nn.Linear(width, classes)

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor) -> Tensor:
        for conv in self.convs:
            x = conv(x, edge_index).relu()
        return self.lin(self.pool(x, batch))  # (graphs, classes)
