"""Layers that multiply by a matrix, seen alike, and cut to some of their outputs and inputs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from beyondprop.neighbourhoods.candidates.students import like
from beyondprop.registry.dotted import source

CONVOLUTIONS = nn.Conv1d, nn.Conv2d, nn.Conv3d
NORMS = nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d
"""Norms of each channel on its own."""

TRANSPOSED = "transformers.pytorch_utils:Conv1D"
"""Hugging Face's linear layer of GPT-2, whose weight is (in, out); named, as it is not needed."""


def is_transposed(layer: nn.Module) -> bool:
    """Whether a layer is Hugging Face's `Conv1D`: linear, with a weight (in, out)."""
    return source(layer) == TRANSPOSED


def is_linear(layer: nn.Module) -> bool:
    """Whether a layer is linear on the last axis, and of no class derived from that."""
    return type(layer) is nn.Linear or is_transposed(layer)


def is_convolution(layer: nn.Module) -> bool:
    """Whether a layer is a convolution in which each output reads each input."""
    return type(layer) in CONVOLUTIONS and isinstance(layer, CONVOLUTIONS) and layer.groups == 1


def is_depthwise(layer: nn.Module) -> bool:
    """Whether a layer is a convolution of each channel on its own."""
    return (
        type(layer) in CONVOLUTIONS
        and isinstance(layer, CONVOLUTIONS)
        and layer.groups == layer.in_channels == layer.out_channels > 1
    )


def is_layer(layer: nn.Module) -> bool:
    """Whether a layer multiplies each position by one matrix, or by one a tap."""
    return is_linear(layer) or is_convolution(layer)


def matrix(layer: nn.Module) -> Tensor:
    """Return a layer's weight as (outputs, inputs, taps), in float64 on the CPU."""
    weight = exact(layer.get_parameter("weight"))
    return (weight.t() if is_transposed(layer) else weight).reshape(*sizes(layer), -1)


def sizes(layer: nn.Module) -> tuple[int, int]:
    """Return how many outputs and inputs a layer has."""
    shape = layer.get_parameter("weight").shape
    return (shape[1], shape[0]) if is_transposed(layer) else (shape[0], shape[1])


def bias(layer: nn.Module) -> Tensor:
    """Return a layer's bias (outputs,), in float64 on the CPU; zeros where it has none."""
    found = layer.bias
    return exact(found) if isinstance(found, Tensor) else torch.zeros(sizes(layer)[0]).double()


def tapped(layer: nn.Module, outputs: int, groups: int = 1, bias: bool = False) -> nn.Module:
    """Return a convolution with the taps of another; its weight is still to be set."""
    names = "in_channels", "kernel_size", "stride", "padding", "dilation", "padding_mode"
    same = {name: getattr(layer, name) for name in names}
    return type(layer)(out_channels=outputs, groups=groups, bias=bias, device="meta", **same)


def pointwise(layer: nn.Module, inputs: int) -> nn.Module:
    """Return a convolution of one tap with the outputs of another; its weight is to be set."""
    kind, outputs = type(layer), sizes(layer)[0]
    return kind(inputs, outputs, kernel_size=1, bias=layer.bias is not None, device="meta")


def exact(tensor: Tensor) -> Tensor:
    """Return a tensor in float64 on the CPU, without a gradient."""
    return tensor.detach().to("cpu", torch.float64)


def keep_outputs(layer: nn.Module, kept: Tensor) -> None:
    """Cut a layer to some of its outputs."""
    _cut(layer, "weight", 1 if is_transposed(layer) else 0, kept)
    _cut(layer, "bias", 0, kept)
    _count(layer, ("out_features", "out_channels", "nf"), len(kept))


def keep_inputs(layer: nn.Module, kept: Tensor) -> None:
    """Cut a layer to some of its inputs."""
    _cut(layer, "weight", 0 if is_transposed(layer) else 1, kept)
    _count(layer, ("in_features", "in_channels", "nx"), len(kept))


def keep_channels(layer: nn.Module, kept: Tensor) -> None:
    """Cut a norm of channels, or a depthwise convolution, to some of its channels."""
    for name in ("weight", "bias", "running_mean", "running_var"):
        _cut(layer, name, 0, kept)
    _count(layer, ("num_features", "in_channels", "out_channels", "groups"), len(kept))


def _cut(layer: nn.Module, name: str, axis: int, kept: Tensor) -> None:
    """Replace a parameter or buffer by some of its slices; what is not there is left out."""
    old = getattr(layer, name, None)
    if not isinstance(old, Tensor):
        return
    new = like(old.detach().index_select(axis, kept.to(old.device)), old)
    setattr(layer, name, nn.Parameter(new, old.requires_grad) if _learns(old) else new)


def _learns(tensor: Tensor) -> bool:
    return isinstance(tensor, nn.Parameter)


def _count(layer: nn.Module, names: tuple[str, ...], count: int) -> None:
    """Write how many there are where the layer's class says it."""
    for name in names:
        if isinstance(getattr(layer, name, None), int):
            setattr(layer, name, count)
