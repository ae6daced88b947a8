"""One interface for layers that multiply by a matrix, and ways to prune outputs and inputs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from beyondprop.neighbourhoods.candidates.students import like
from beyondprop.registry.dotted import source

CONVOLUTIONS = nn.Conv1d, nn.Conv2d, nn.Conv3d
NORMS = nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d
"""Norms that treat each channel separately."""

TRANSPOSED = "transformers.pytorch_utils:Conv1D"
"""Hugging Face's linear layer of GPT-2, with a weight (in, out); by name, to avoid the import."""


def is_transposed(layer: nn.Module) -> bool:
    """Whether a layer is Hugging Face's `Conv1D`: linear, with a weight (in, out)."""
    return source(layer) == TRANSPOSED


def is_linear(layer: nn.Module) -> bool:
    """Whether a layer is linear on the last axis, and not of a derived class."""
    return type(layer) is nn.Linear or is_transposed(layer)


def is_convolution(layer: nn.Module) -> bool:
    """Whether a layer is a convolution in which each output reads each input."""
    return type(layer) in CONVOLUTIONS and isinstance(layer, CONVOLUTIONS) and layer.groups == 1


def is_depthwise(layer: nn.Module) -> bool:
    """Whether a layer is a depthwise convolution, which treats each channel separately."""
    return (
        type(layer) in CONVOLUTIONS
        and isinstance(layer, CONVOLUTIONS)
        and layer.groups == layer.in_channels == layer.out_channels > 1
    )


def is_layer(layer: nn.Module) -> bool:
    """Whether a layer multiplies each position by one matrix, or by one matrix for each tap."""
    return is_linear(layer) or is_convolution(layer)


def matrix(layer: nn.Module) -> Tensor:
    """Return a layer's weight as (outputs, inputs, taps), in float64 on the CPU."""
    weight = exact(layer.get_parameter("weight"))
    return (weight.t() if is_transposed(layer) else weight).reshape(*sizes(layer), -1)


def sizes(layer: nn.Module) -> tuple[int, int]:
    """Return the number of outputs and of inputs of a layer."""
    shape = layer.get_parameter("weight").shape
    return (shape[1], shape[0]) if is_transposed(layer) else (shape[0], shape[1])


def bias(layer: nn.Module) -> Tensor:
    """Return a layer's bias (outputs,), in float64 on the CPU; zeros if it has none."""
    found = layer.bias
    return exact(found) if isinstance(found, Tensor) else torch.zeros(sizes(layer)[0]).double()


def tapped(layer: nn.Module, outputs: int, groups: int = 1, bias: bool = False) -> nn.Module:
    """Return a convolution with the taps of another; the caller must set its weight."""
    names = "in_channels", "kernel_size", "stride", "padding", "dilation", "padding_mode"
    same = {name: getattr(layer, name) for name in names}
    return type(layer)(out_channels=outputs, groups=groups, bias=bias, device="meta", **same)


def pointwise(layer: nn.Module, inputs: int) -> nn.Module:
    """Return a one-tap convolution with another's outputs; the caller must set its weight."""
    kind, outputs = type(layer), sizes(layer)[0]
    return kind(inputs, outputs, kernel_size=1, bias=layer.bias is not None, device="meta")


def exact(tensor: Tensor) -> Tensor:
    """Return a tensor in float64 on the CPU, without a gradient."""
    return tensor.detach().to("cpu", torch.float64)


def keep_outputs(layer: nn.Module, kept: Tensor) -> None:
    """Keep only some of a layer's outputs."""
    _cut(layer, "weight", 1 if is_transposed(layer) else 0, kept)
    _cut(layer, "bias", 0, kept)
    _count(layer, ("out_features", "out_channels", "nf"), len(kept))


def keep_inputs(layer: nn.Module, kept: Tensor) -> None:
    """Keep only some of a layer's inputs."""
    _cut(layer, "weight", 0 if is_transposed(layer) else 1, kept)
    _count(layer, ("in_features", "in_channels", "nx"), len(kept))


def keep_channels(layer: nn.Module, kept: Tensor) -> None:
    """Keep only some channels of a norm or a depthwise convolution."""
    for name in ("weight", "bias", "running_mean", "running_var"):
        _cut(layer, name, 0, kept)
    _count(layer, ("num_features", "in_channels", "out_channels", "groups"), len(kept))


def _cut(layer: nn.Module, name: str, axis: int, kept: Tensor) -> None:
    """Replace a parameter or buffer, if there is one, by some of its slices."""
    old = getattr(layer, name, None)
    if not isinstance(old, Tensor):
        return
    new = like(old.detach().index_select(axis, kept.to(old.device)), old)
    setattr(layer, name, nn.Parameter(new, old.requires_grad) if _learns(old) else new)


def _learns(tensor: Tensor) -> bool:
    return isinstance(tensor, nn.Parameter)


def _count(layer: nn.Module, names: tuple[str, ...], count: int) -> None:
    """Set those of the named integer attributes that the layer has."""
    for name in names:
        if isinstance(getattr(layer, name, None), int):
            setattr(layer, name, count)
