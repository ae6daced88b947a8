"""Students that read only one of a piece's input tensors, and return one tensor."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from beyondprop._torch.pytrees import leaves, replaced
from beyondprop.errors import UserError
from beyondprop.neighbourhoods.calls import Call


class OfFirst(nn.Module):
    """Passes only the first of its input tensors to a layer.

    Args:
        layer: Maps one tensor to one tensor.
        form: The returned structure, with a placeholder tensor for the layer's output.
    """

    def __init__(self, layer: nn.Module, form: Any) -> None:
        super().__init__()
        self.layer, self.form = layer, replaced(form, lambda _: torch.empty(0))

    def forward(self, *arguments: Any, **keywords: Any) -> Any:
        """Return the layer's output for the first tensor, in the form of the piece's output."""
        found = self.layer(next(leaves((arguments, keywords))))
        return replaced(self.form, lambda _: found)


def ends(name: str, call: Call) -> tuple[Tensor, Tensor]:
    """Return a piece's first input tensor and its output tensor.

    Raises:
        UserError: The first input is not a floating-point tensor, or there is not one output.
    """
    given, outputs = call.inputs, call.outputs
    if not given or not given[0].is_floating_point():
        kind = f"one of {given[0].dtype}" if given else "none"
        raise UserError(f"'{name}' needs a first tensor of real numbers: the piece gets {kind}")
    if len(outputs) != 1:
        raise UserError(f"'{name}' returns one tensor: the piece returns {len(outputs)}")
    return given[0], outputs[0]


def standing(layer: nn.Module, call: Call) -> nn.Module:
    """Return a module with the piece's arguments and output form: the layer itself if it fits."""
    plain = len(call.arguments) == 1 and not call.keywords and call.arguments[0] is call.inputs[0]
    if plain and isinstance(call.output, Tensor):
        return layer
    return OfFirst(layer, call.output)
