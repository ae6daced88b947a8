"""Students that read one tensor of what a piece gets, and return one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from beyondprop._torch.pytrees import leaves, replaced
from beyondprop.errors import UserError
from beyondprop.neighbourhoods.calls import Call


class OfFirst(nn.Module):
    """Gives a layer the first of the tensors that it is called with; the others are not read.

    Args:
        layer: From one tensor to one.
        form: What is returned, with any tensor in the place of the layer's output.
    """

    def __init__(self, layer: nn.Module, form: Any) -> None:
        super().__init__()
        self.layer, self.form = layer, replaced(form, lambda _: torch.empty(0))

    def forward(self, *arguments: Any, **keywords: Any) -> Any:
        """Return the layer's output of the first tensor, in the form of the piece's output."""
        found = self.layer(next(leaves((arguments, keywords))))
        return replaced(self.form, lambda _: found)


def ends(name: str, call: Call) -> tuple[Tensor, Tensor]:
    """Return the first tensor that a piece gets, and the one that it gives.

    Raises:
        UserError: It gets none of real numbers first, or gives another number than one.
    """
    given, outputs = call.inputs, call.outputs
    if not given or not given[0].is_floating_point():
        kind = f"one of {given[0].dtype}" if given else "none"
        raise UserError(f"'{name}' needs a first tensor of real numbers: the piece gets {kind}")
    if len(outputs) != 1:
        raise UserError(f"'{name}' gives one tensor: the piece gives {len(outputs)}")
    return given[0], outputs[0]


def standing(layer: nn.Module, call: Call) -> nn.Module:
    """Return a module that can be called as the piece is: the layer itself where that will do."""
    plain = len(call.arguments) == 1 and not call.keywords and call.arguments[0] is call.inputs[0]
    if plain and isinstance(call.output, Tensor):
        return layer
    return OfFirst(layer, call.output)
