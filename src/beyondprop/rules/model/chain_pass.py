"""Common parts of rules that run a plain chain themselves."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from beyondprop._torch.pytrees import leaves
from beyondprop.core import Block, ModelCall
from beyondprop.errors import UserError
from beyondprop.layers.conv import kernel_gradients
from beyondprop.rules.model.plain_chain import DROPOUTS, LayerState, PlainChain, unfit

Places = dict[nn.Module, dict[str, int]]
"""The index of each layer's parameters, by their names in the layer, among the model's."""


def chain_problems(rule: str, block: Block) -> Iterator[str]:
    """Yield a sentence if the block's model is not a plain chain."""
    reason = unfit(block.owner)
    if reason is not None:
        yield (
            f"{rule} teaches chains (nn.Sequential) of linear layers and convolutions with "
            f"elementwise activations, pooling, dropout and flattening between them, but {reason}"
        )


def only_input(rule: str, call: ModelCall) -> Tensor:
    """Return the model's input.

    Raises:
        UserError: It is not one tensor of floats.
    """
    tensors = list(leaves((call.inputs, call.keywords)))
    if len(tensors) != 1 or not tensors[0].is_floating_point():
        raise UserError(f"{rule} takes models whose input is one tensor of floats")
    return tensors[0]


def places_of(chain: PlainChain, call: ModelCall) -> Places:
    """Return the indices of the parameters of a chain's layers among the model's."""
    numbers = {id(p): i for i, p in enumerate(call.parameters.values())}
    return {
        layer.module: {name: numbers[id(p)] for name, p in layer.module.named_parameters()}
        for layer in chain.layers
    }


def autocast_of(x: Tensor) -> tuple[bool, torch.dtype]:
    """Return whether autocast is on for a tensor's device, and its dtype."""
    device = x.device.type
    return torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)


class Masks:
    """The dropout masks of a first pass, for later passes."""

    def __init__(self) -> None:
        self.drawn: list[Tensor | None] = []

    def draw(self, dropout: nn.Module, x: Tensor) -> Tensor:
        """Apply a dropout and store its mask."""
        mask = dropout(torch.ones_like(x)) if dropout.training else None
        self.drawn.append(mask)
        return x if mask is None else x * mask


def run_masked(modules: Sequence[nn.Module], masks: Sequence[Tensor | None], x: Tensor) -> Tensor:
    """Run modules with the dropout masks of the first pass; None for a dropout that was off."""
    drawn = iter(masks)
    for module in modules:
        if type(module) not in DROPOUTS:
            x = module(x)
        elif (mask := next(drawn)) is not None:
            x = x * mask
    return x


def layer_gradients(state: LayerState, delta: Tensor) -> dict[str, Tensor]:
    """Return the gradients of a layer's parameters, summed over the batch and all positions."""
    layer = state.layer.module
    dtype = next(layer.parameters()).dtype
    delta, before = delta.reshape(state.shape).to(dtype), state.input.to(dtype)
    with torch.autocast(delta.device.type, enabled=False):
        if not isinstance(layer, nn.Linear):
            weight, bias = kernel_gradients(layer, before, delta)
            return {"weight": weight, "bias": bias}
        rows = delta.reshape(-1, delta.shape[-1])
        return {"weight": rows.t() @ before.reshape(-1, before.shape[-1]), "bias": rows.sum(0)}


def add_gradient(found: list[Tensor | None], place: int | None, gradient: Tensor) -> None:
    """Add a gradient to that of a parameter, which may belong to several layers."""
    if place is not None:
        old = found[place]
        found[place] = gradient if old is None else old + gradient
