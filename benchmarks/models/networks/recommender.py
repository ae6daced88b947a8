"""Click prediction: DeepFM (Guo et al. 2017) and a deep and cross network (Wang et al. 2017)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Fields(nn.Module):
    """An embedding for each field."""

    offsets: Tensor

    def __init__(self, sizes: Sequence[int], dim: int):
        super().__init__()
        self.embedding = nn.Embedding(sum(sizes), dim)
        self.register_buffer("offsets", torch.tensor([0, *sizes[:-1]]).cumsum(0), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.embedding(x + self.offsets)  # (batch, fields, dim)


def perceptron(inputs: int, widths: Sequence[int], outputs: int) -> nn.Sequential:
    """Return linear layers with batch norm and dropout."""
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Linear(inputs, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.2)]
        inputs = width
    return nn.Sequential(*layers, *([nn.Linear(inputs, outputs)] if outputs else []))


class DeepFM(nn.Module):
    """A factorisation machine in parallel with a perceptron."""

    def __init__(self, sizes: Sequence[int], dim: int, widths: Sequence[int]):
        super().__init__()
        self.linear = Fields(sizes, 1)
        self.embedding = Fields(sizes, dim)
        self.mlp = perceptron(len(sizes) * dim, widths, 1)

    def forward(self, x: Tensor) -> Tensor:
        embedded = self.embedding(x)  # (batch, fields, dim)
        pairs = embedded.sum(1) ** 2 - (embedded**2).sum(1)
        wide = self.linear(x).sum((1, 2)) + 0.5 * pairs.sum(1)
        return wide + self.mlp(embedded.flatten(1)).squeeze(1)  # (batch,)


class CrossNetwork(nn.Module):
    """Products of the inputs with the output of the previous layer."""

    def __init__(self, dim: int, depth: int):
        super().__init__()
        self.w = nn.ModuleList(nn.Linear(dim, 1, bias=False) for _ in range(depth))
        self.b = nn.ParameterList(nn.Parameter(torch.zeros(dim)) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        x0 = x
        for w, b in zip(self.w, self.b, strict=True):
            x = x0 * w(x) + b + x
        return x


class DCN(nn.Module):
    """A cross network in parallel with a perceptron."""

    def __init__(self, sizes: Sequence[int], dim: int, widths: Sequence[int], crosses: int):
        super().__init__()
        self.embedding = Fields(sizes, dim)
        inputs = len(sizes) * dim
        self.cross = CrossNetwork(inputs, crosses)
        self.mlp = perceptron(inputs, widths, 0)
        self.linear = nn.Linear(inputs + widths[-1], 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embedding(x).flatten(1)  # (batch, fields · dim)
        return self.linear(torch.cat([self.cross(x), self.mlp(x)], 1)).squeeze(1)  # (batch,)
