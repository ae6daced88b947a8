"""Convolutions of each channel on its own, then of each position on its own."""

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
    """Each convolution becomes a depthwise one and one of 1 x 1, as in MobileNet.

    For each input channel they begin as the best approximation by one pattern of taps, which the
    outputs read with a weight each: the largest singular value of (outputs, taps). A convolution
    stays that has one tap, or that two would have no fewer weights than.

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
    """Return both convolutions, or None where the layer stays."""
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
    """Return for each input a pattern, and how much of it each output reads, of equal norms.

    Args:
        weight: (outputs, inputs, taps).

    Returns:
        (inputs, taps) and (outputs, inputs), whose product is as near to the weight as can be.
    """
    left, values, right = torch.linalg.svd(weight.transpose(0, 1), full_matrices=False)
    root = values[:, :1].sqrt()  # (inputs, 1)
    return root * right[:, 0], (root * left[:, :, 0]).t()
