"""Depthwise convolutions, followed by 1 x 1 convolutions."""

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
    is_convolution,
    matrix,
    pointwise,
    sizes,
    tapped,
)
from beyondprop.neighbourhoods.candidates.students import exchanged, fitting, written


@dataclass(frozen=True)
class Depthwise(Candidate):
    """Replaces each convolution by a depthwise and a 1 x 1 convolution, as in MobileNet.

    For each input channel they start as the best rank-1 approximation of its weights (outputs,
    taps), by singular value decomposition: one pattern of taps, and one weight for each output. A
    convolution is not replaced if it has one tap, or if the pair would not have fewer weights.

    Howard et al., "MobileNets: efficient convolutional neural networks for mobile vision
    applications", arXiv 1704.04861.
    """

    name: ClassVar[str] = "depthwise"

    def build(self, piece: nn.Module, call: Call) -> nn.Module:
        """Return a copy of the piece with pairs of convolutions."""
        student, count = exchanged(learning_copy(piece), _pair)
        if not count:
            raise UserError(
                f"'depthwise' finds no convolution of several taps in the {type(piece).__name__} "
                "that a depthwise one and one of 1 x 1 would have fewer weights than"
            )
        return fitting(self.name, student, call)


def _pair(layer: nn.Module) -> nn.Module | None:
    """Return both convolutions, or None if the layer is not replaced."""
    if not is_convolution(layer):
        return None
    weight = layer.get_parameter("weight")
    (outputs, inputs), taps = sizes(layer), weight[0, 0].numel()
    if taps == 1 or inputs * (taps + outputs) >= weight.numel():
        return None
    patterns, mixing = separated(matrix(layer))
    first, second = tapped(layer, inputs, groups=inputs), pointwise(layer, inputs)
    return nn.Sequential(
        written(first, layer, weight=patterns.reshape(inputs, 1, *weight.shape[2:])),
        written(
            second,
            layer,
            weight=mixing.reshape(outputs, inputs, *(1 for _ in weight.shape[2:])),
            offset=layer.bias,
        ),
    )


def separated(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return a pattern of taps for each input, and its weight in each output, with equal norms.

    Args:
        weight: (outputs, inputs, taps).

    Returns:
        (inputs, taps) and (outputs, inputs), whose product approximates the weight best.
    """
    left, values, right = torch.linalg.svd(weight.transpose(0, 1), full_matrices=False)
    root = values[:, :1].sqrt()  # (inputs, 1)
    return root * right[:, 0], (root * left[:, :, 0]).t()
