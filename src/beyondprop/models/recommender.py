"""Networks that predict a click from categorical values of several fields.

Inputs are the indices of the values, ``(batch, fields)`` int64, counted from 0 in each field;
outputs are logits, ``(batch,)``.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NO_LESS = 1e-4
"""Lower limit of absolute values before the logarithm."""

Blocks = tuple[str | tuple[str, ...], ...]
"""Names of a network's blocks. The embeddings of values are in the output's block, which keeps its
exact gradient, so they learn from the gradients of the blocks that read them. As a separate block
they would get the error of one output, in the same direction in all rows of a field."""


class Fields(nn.Module):
    """An embedding of each value of each field.

    Args:
        sizes: Number of values of each field.
        width: Width of a vector.
    """

    offsets: Tensor

    def __init__(self, sizes: Sequence[int], width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(sum(sizes), width)
        nn.init.xavier_uniform_(self.table.weight)
        self.register_buffer("offsets", torch.tensor([0, *sizes[:-1]]).cumsum(0), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, fields) to (batch, fields, width)."""
        out: Tensor = self.table(x + self.offsets)
        return out


class FirstOrder(nn.Module):
    """The sum of one weight for each value of each field: logistic regression.

    Args:
        sizes: Number of values of each field.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        self.weight = Fields(sizes, 1)
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, fields) to (batch,)."""
        out: Tensor = self.weight(x).sum((1, 2)) + self.bias
        return out


def pairs(vectors: Tensor) -> Tensor:
    """Return the sum of the products of all pairs of fields: (batch, fields, width) to (batch,).

    ``Σ_{i<j} ⟨v_i, v_j⟩ = ½ (‖Σ v_i‖² - Σ ‖v_i‖²)``
    """
    return 0.5 * (vectors.sum(1).square().sum(1) - vectors.square().sum((1, 2)))


def deep_layers(inputs: int, widths: Sequence[int], dropout: float) -> nn.Sequential:
    """Return hidden layers, each with a linear layer, batch norm, ReLU and dropout."""
    return nn.Sequential(
        *(
            nn.Sequential(nn.Linear(before, w), nn.BatchNorm1d(w), nn.ReLU(), nn.Dropout(dropout))
            for before, w in zip([inputs, *widths[:-1]], widths, strict=True)
        )
    )


class FactorisationMachine(nn.Module):
    """First-order weights and products of pairs of fields (Rendle 2010, equation 1).

    Args:
        sizes: Number of values of each field.
        width: Width of their vectors.
    """

    def __init__(self, sizes: Sequence[int], width: int = 16) -> None:
        super().__init__()
        self.first = FirstOrder(sizes)
        self.embedding = Fields(sizes, width)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, fields) to (batch,)."""
        out: Tensor = self.first(x) + pairs(self.embedding(x))
        return out


class DeepFM(nn.Module):
    """The sum of a factorisation machine and a deep network on the same vectors (Guo et al. 2017).

    Args:
        sizes: Number of values of each field.
        width: Width of their vectors.
        deep: Widths of the hidden layers.
        dropout: Dropout rate after each of them.
    """

    BLOCKS: ClassVar[Blocks] = ("deep.*", ("first", "embedding", "head"))

    def __init__(
        self, sizes: Sequence[int], width: int, deep: Sequence[int], dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.first = FirstOrder(sizes)
        self.embedding = Fields(sizes, width)
        self.deep = deep_layers(len(sizes) * width, deep, dropout)
        self.head = nn.Linear(deep[-1], 1, bias=False)  # the first-order part has a bias

    def forward(self, x: Tensor) -> Tensor:
        """(batch, fields) to (batch,)."""
        vectors = self.embedding(x)  # (batch, fields, width)
        machine = self.first(x) + pairs(vectors)
        out: Tensor = machine + self.head(self.deep(vectors.flatten(1))).squeeze(1)
        return out


class Cross(nn.Module):
    """A cross layer: ``x_0 (wᵀ x) + b + x`` (Wang et al. 2017, equation 3).

    Args:
        width: Width of the network's input and of each layer's output.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Linear(width, 1, bias=False)
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x0: Tensor, x: Tensor) -> Tensor:
        """Network's input and layer's input, both (batch, width), to (batch, width)."""
        out: Tensor = x0 * self.weight(x) + self.bias + x
        return out


class DeepCross(nn.Module):
    """Cross layers parallel to a deep network; one linear layer reads both (Wang et al. 2017).

    Args:
        sizes: Number of values of each field.
        width: Width of their vectors.
        crosses: Number of cross layers.
        deep: Widths of the hidden layers.
        dropout: Dropout rate after each of them.
    """

    BLOCKS: ClassVar[Blocks] = ("cross.*", "deep.*", ("embedding", "head"))

    def __init__(
        self,
        sizes: Sequence[int],
        width: int,
        crosses: int,
        deep: Sequence[int],
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        inputs = len(sizes) * width
        self.embedding = Fields(sizes, width)
        self.cross = nn.ModuleList(Cross(inputs) for _ in range(crosses))
        self.deep = deep_layers(inputs, deep, dropout)
        self.head = nn.Linear(inputs + deep[-1], 1)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, fields) to (batch,)."""
        x0 = self.embedding(x).flatten(1)  # (batch, fields · width)
        crossed = x0
        for layer in self.cross:
            crossed = layer(x0, crossed)
        out: Tensor = self.head(torch.cat([crossed, self.deep(x0)], 1)).squeeze(1)
        return out


class Interaction(nn.Module):
    """Self-attention between fields, with a residual path (Song et al. 2019, section 4.3).

    Args:
        inputs: Width of a field's vector.
        width: Width of its output, over all heads.
        heads: Number of heads.
    """

    def __init__(self, inputs: int, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(inputs, width, bias=False)
        self.key = nn.Linear(inputs, width, bias=False)
        self.value = nn.Linear(inputs, width, bias=False)
        self.residual = nn.Linear(inputs, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, fields, inputs) to (batch, fields, width)."""
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (batch, heads, fields, w)
            for part in (self.query(x), self.key(x), self.value(x))
        )
        found = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        out: Tensor = F.relu(found.transpose(1, 2).flatten(2) + self.residual(x))
        return out


class AutoInt(nn.Module):
    """Attention between fields parallel to a deep network; one linear layer reads both.

    Song et al. 2019, where it is called AutoInt+.

    Args:
        sizes: Number of values of each field.
        width: Width of their vectors.
        attention: Width of a field after each attention layer.
        heads: Number of heads of each attention layer.
        layers: Number of attention layers.
        deep: Widths of the hidden layers.
        dropout: Dropout rate after each of them.
    """

    BLOCKS: ClassVar[Blocks] = ("attention.*", "deep.*", ("embedding", "head"))

    def __init__(
        self,
        sizes: Sequence[int],
        width: int,
        attention: int,
        heads: int,
        layers: int,
        deep: Sequence[int],
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.embedding = Fields(sizes, width)
        self.attention = nn.Sequential(
            *(Interaction(attention if i else width, attention, heads) for i in range(layers))
        )
        self.deep = deep_layers(len(sizes) * width, deep, dropout)
        self.head = nn.Linear(len(sizes) * attention + deep[-1], 1)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, fields) to (batch,)."""
        vectors = self.embedding(x)  # (batch, fields, width)
        attended = self.attention(vectors).flatten(1)
        out: Tensor = self.head(torch.cat([attended, self.deep(vectors.flatten(1))], 1)).squeeze(1)
        return out


class Logarithmic(nn.Module):
    """Products of powers of the fields: ``exp(Σ_i a_ji ln |v_i|)``, element by element.

    The logarithmic transformation layer (Cheng et al. 2020, equations 5 and 6), with its batch
    norms of the logarithms and of the products.

    Args:
        fields: Number of fields.
        neurons: Number of products.
    """

    def __init__(self, fields: int, neurons: int) -> None:
        super().__init__()
        self.before = nn.BatchNorm1d(fields)
        self.powers = nn.Linear(fields, neurons)
        self.after = nn.BatchNorm1d(neurons)

    def forward(self, vectors: Tensor) -> Tensor:
        """(batch, fields, width) to (batch, neurons, width)."""
        logs = self.before(vectors.abs().clamp(min=NO_LESS).log())
        products = self.powers(logs.transpose(1, 2)).exp()  # (batch, width, neurons)
        out: Tensor = self.after(products.transpose(1, 2))
        return out


class AFN(nn.Module):
    """Adaptive factorisation network: learned powers of fields, then a deep network (Cheng et al.
    2020).

    Args:
        sizes: Number of values of each field.
        width: Width of their vectors.
        neurons: Number of products of powers.
        deep: Widths of the hidden layers.
        dropout: Dropout rate after each of them.
    """

    BLOCKS: ClassVar[Blocks] = ("logarithmic", "deep.*", ("embedding", "head"))

    def __init__(
        self,
        sizes: Sequence[int],
        width: int,
        neurons: int,
        deep: Sequence[int],
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.embedding = Fields(sizes, width)
        self.logarithmic = Logarithmic(len(sizes), neurons)
        self.deep = deep_layers(neurons * width, deep, dropout)
        self.head = nn.Linear(deep[-1], 1)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, fields) to (batch,)."""
        products = self.logarithmic(self.embedding(x)).flatten(1)  # (batch, neurons · width)
        out: Tensor = self.head(self.deep(products)).squeeze(1)
        return out
