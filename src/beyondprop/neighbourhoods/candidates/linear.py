"""One linear map that replaces the piece."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from beyondprop.errors import UserError
from beyondprop.neighbourhoods.calls import Call
from beyondprop.neighbourhoods.candidates.base import Candidate
from beyondprop.neighbourhoods.candidates.first import ends, standing
from beyondprop.neighbourhoods.candidates.students import Seed
from beyondprop.registry import check_fields
from beyondprop.shapes import MIXED, axes_of, channels_first

CONVOLUTIONS: dict[int, type[nn.Module]] = {3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}
"""Convolutions by the number of axes of their inputs."""


@dataclass(frozen=True)
class Linear(Candidate):
    """One linear layer on the features, or one 1 x 1 convolution from maps to maps.

    If the output has fewer positions than the input, the convolution has a stride. From maps to
    features, the maps are flattened first. It starts from scratch, with random weights and zero
    biases.

    Args:
        seed: The seed of the weights.
    """

    name: ClassVar[str] = "linear"
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_fields(self)

    def build(self, piece: nn.Module, call: Call) -> nn.Module:
        """Return a layer with uniform random weights that preserve a signal's variance."""
        before, after = ends(self.name, call)
        layer = _layer(piece, before, after)
        core = layer[-1] if isinstance(layer, nn.Sequential) else layer
        weight, bias = core.get_parameter("weight"), core.get_parameter("bias")
        generator = torch.Generator().manual_seed(self.seed)
        drawn = torch.rand(weight.shape, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            weight.copy_((2 * drawn - 1) * math.sqrt(3 / weight[0].numel()))
            bias.zero_()
        return standing(layer, call).train(piece.training)


def _layer(piece: nn.Module, before: Tensor, after: Tensor) -> nn.Module:
    """Return the layer, not initialised."""
    made = {"dtype": after.dtype, "device": after.device}
    layer: nn.Module
    if before.dim() > 3 and after.dim() == 2:
        inputs = before[0].numel()
        return nn.Sequential(nn.Flatten(), skip_init(nn.Linear, inputs, after.shape[1], **made))
    if before.dim() == after.dim() > 2 and _are_maps(piece, after):
        sides = list(zip(before.shape[2:], after.shape[2:], strict=True))
        stride = tuple(math.ceil(old / new) for old, new in sides)
        if all(
            math.ceil(old / step) == new for (old, new), step in zip(sides, stride, strict=True)
        ):
            kind, channels = CONVOLUTIONS[after.dim()], (before.shape[1], after.shape[1])
            layer = skip_init(kind, *channels, kernel_size=1, stride=stride, **made)
            return layer
    elif before.shape[:-1] == after.shape[:-1]:
        layer = skip_init(nn.Linear, before.shape[-1], after.shape[-1], **made)
        return layer
    raise UserError(
        "'linear' keeps the positions, uses every second (third, ...) of them, or flattens maps "
        f"to features: none of these leads from {tuple(before.shape)} to {tuple(after.shape)}"
    )


def _are_maps(piece: nn.Module, after: Tensor) -> bool:
    """Whether channels come before positions in a piece's output."""
    axes = axes_of([piece])
    if axes == MIXED and after.dim() > 3:
        raise UserError(
            "'linear' must know which axis holds channels, and layers of this piece differ in "
            "that: name a part of the model that ends in a convolution or its norm, or use your "
            "own candidate"
        )
    return channels_first(after, axes)
