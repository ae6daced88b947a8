"""Layers factored into two narrow ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from beyondprop._torch.modules import learning_copy
from beyondprop.errors import UserError
from beyondprop.neighbourhoods.calls import Call
from beyondprop.neighbourhoods.candidates.base import Candidate
from beyondprop.neighbourhoods.candidates.layers import (
    is_layer,
    is_linear,
    matrix,
    pointwise,
    sizes,
    tapped,
)
from beyondprop.neighbourhoods.candidates.students import exchanged, fitting, written
from beyondprop.registry import check_fields
from beyondprop.registry.limits import PositiveShare


@dataclass(frozen=True)
class LowRank(Candidate):
    """Replaces each linear layer and each convolution by two, with few features between them.

    They start as the best approximation of that rank: the largest singular values of the weight,
    (outputs, inputs × taps). The first of two convolutions has the taps, the second is 1 x 1. A
    layer is not replaced if the pair would not have fewer weights.

    Args:
        share: The rank as a share of the layer's largest possible rank, the smaller of its outputs
            and its inputs (× taps).
    """

    name: ClassVar[str] = "low-rank"
    share: PositiveShare = 0.25

    def __post_init__(self) -> None:
        check_fields(self)

    def build(self, piece: nn.Module, call: Call) -> nn.Module:
        """Return a copy of the piece with pairs of layers."""
        student, count = exchanged(learning_copy(piece), self._pair)
        if not count:
            raise UserError(
                f"'low-rank' with a share of {self.share} finds no nn.Linear or convolution in the "
                f"{type(piece).__name__} that two of that rank would have fewer weights than"
            )
        return fitting(self.name, student, call)

    def _pair(self, layer: nn.Module) -> nn.Module | None:
        if not is_layer(layer):
            return None
        outputs, inputs = sizes(layer)
        inputs *= layer.get_parameter("weight").numel() // (outputs * inputs)
        rank = max(1, round(self.share * min(outputs, inputs)))
        return pair(layer, rank) if rank * (outputs + inputs) < outputs * inputs else None


def pair(layer: nn.Module, rank: int) -> nn.Sequential:
    """Return two layers whose product is the best approximation of a layer with this rank."""
    left, right = factors(matrix(layer).flatten(1), rank)
    outputs, inputs = sizes(layer)
    if is_linear(layer):
        first: nn.Module = nn.Linear(inputs, rank, bias=False, device="meta")
        second: nn.Module = nn.Linear(rank, outputs, bias=layer.bias is not None, device="meta")
    else:
        first = tapped(layer, rank)
        second = pointwise(layer, rank)
        right = right.reshape(rank, inputs, *layer.get_parameter("weight").shape[2:])
        left = left.reshape(outputs, rank, *(1 for _ in right.shape[2:]))
    return nn.Sequential(
        written(first, layer, weight=right), written(second, layer, weight=left, offset=layer.bias)
    )


def factors(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return matrices (outputs, rank) and (rank, inputs), of equal norms, with the best product.

    Eckart and Young, "The approximation of one matrix by another of lower rank", 1936.
    """
    left, values, right = torch.linalg.svd(weight, full_matrices=False)
    root = values[:rank].sqrt()
    return left[:, :rank] * root, root[:, None] * right[:rank]
