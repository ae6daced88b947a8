"""Which parameters of a layer can be converted, their fans, and reasons why they cannot."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from beyondprop.layers import feedback_class, is_no_matrix
from beyondprop.random import slot_words
from beyondprop.slots.values import Fan

NORMS = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.RMSNorm,
)


@dataclass(frozen=True)
class Weight:
    """A parameter that can be converted.

    Attributes:
        name: Its name in its layer.
        fan: The fan of its layer.
        conv: Whether its layer is a convolution.
    """

    name: str
    fan: Fan
    conv: bool = False


def linear(layer: Any) -> Iterator[Weight]:
    """Yield the weight of a linear layer, (out, in)."""
    yield Weight("weight", Fan(layer.in_features, layer.out_features))


def bilinear(layer: Any) -> Iterator[Weight]:
    """Yield the weight of a bilinear layer, (out, in, in)."""
    yield Weight("weight", Fan(layer.in1_features * layer.in2_features, layer.out_features))


def conv(layer: Any) -> Iterator[Weight]:
    """Yield the weight of a convolution, (out, in / groups, ...)."""
    area = math.prod(layer.kernel_size)
    into, out = (n * area // layer.groups for n in (layer.in_channels, layer.out_channels))
    yield Weight("weight", Fan(into, out), conv=True)


def embedding(layer: Any) -> Iterator[Weight]:
    """Yield the weight of an embedding, (rows, features): a row is read, not summed over."""
    yield Weight("weight", Fan(layer.embedding_dim, layer.embedding_dim))


def attention(layer: Any) -> Iterator[Weight]:
    """Yield the projections of queries, keys and values, in one parameter or three."""
    width = layer.embed_dim
    if layer.in_proj_weight is not None:  # (3 width, width)
        yield Weight("in_proj_weight", Fan(width, width))
        return
    for name, features in (("q", width), ("k", layer.kdim), ("v", layer.vdim)):
        yield Weight(f"{name}_proj_weight", Fan(features, width))  # (width, features)


def recurrent(layer: Any) -> Iterator[Weight]:
    """Yield the weights of a recurrent layer or cell, whose gates all have the same fan."""
    for name, weight in layer.named_parameters(recurse=False):
        if name.startswith("weight"):  # (gates hidden, in)
            yield Weight(name, Fan(weight.shape[1], layer.hidden_size))


KNOWN: tuple[tuple[tuple[type[nn.Module], ...], Callable[[Any], Iterator[Weight]]], ...] = (
    ((nn.Linear,), linear),
    ((nn.Bilinear,), bilinear),
    ((nn.Conv1d, nn.Conv2d, nn.Conv3d), conv),
    ((nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), conv),
    ((nn.Embedding, nn.EmbeddingBag), embedding),
    ((nn.MultiheadAttention,), attention),
    ((nn.RNNBase, nn.RNNCellBase), recurrent),
)


def registered(layer: nn.Module) -> list[Weight] | None:
    """Return the weights registered with `layers.register_operation`, or None if there are none."""
    operation: Any = feedback_class(type(layer))
    if operation is None:
        return None
    inputs: dict[str, int] = operation.inputs_of(layer)
    sizes = {name: getattr(layer, name).numel() for name in inputs}
    return [Weight(name, Fan(into, sizes[name] // into)) for name, into in inputs.items()]


def weights_of(layer: nn.Module) -> list[Weight] | None:
    """Return the weights of a layer that can be converted, or None if its kind is not known."""
    for types, read in KNOWN:
        if isinstance(layer, types):
            return list(read(layer))
    return registered(layer)


def offsets_of(layer: nn.Module) -> list[str]:
    """Return the names of a layer's biases, or of a norm's affine parameters, that learn."""
    own = [name for name, p in layer.named_parameters(recurse=False) if p.requires_grad]
    if isinstance(layer, NORMS):
        return own
    if weights_of(layer) is None:
        return []
    return [n for n in own if "bias" in n and n not in ("bias_k", "bias_v")]


@torch.no_grad()
def take_out(layer: nn.Module, name: str) -> None:
    """Remove a bias or an affine parameter from a layer."""
    known = any(isinstance(layer, types) for types, _ in KNOWN) or isinstance(layer, NORMS)
    if not known or isinstance(layer, (nn.RNNBase, nn.RNNCellBase)):
        # Recurrent kernels need biases for all gates or none, and the forward pass of an unknown
        # layer may need its bias. So it is kept, as zeros that never learn.
        layer.get_parameter(name).zero_().requires_grad_(False)
        return
    setattr(layer, name, None)
    if isinstance(layer, NORMS):
        vars(layer).update({k: False for k in ("affine", "elementwise_affine") if k in vars(layer)})


def full(module: str, name: str) -> str:
    """Return a parameter's name in the model."""
    return f"{module}.{name}" if module else name


def is_padded(layer: nn.Module) -> bool:
    """Whether a row of an embedding must not change, unlike a row of chosen values."""
    return getattr(layer, "padding_idx", None) is not None


def weight_problem(
    module: str, layer: nn.Module, weight: Weight, parameter: nn.Parameter | None
) -> str | None:
    """Return why a weight cannot be converted, or None if it can.

    Args:
        module: The layer's name in the model.
        layer: The layer.
        weight: The weight, from `weights_of`.
        parameter: The layer's parameter of this name, if any.
    """
    name = full(module, weight.name)
    if parameter is None:
        return (
            f"'{name}' is computed from other parameters: convert before you prune or add "
            f"spectral normalisation, or leave it out with exclude=['{module}']"
        )
    if _lazy(parameter):
        return f"'{name}' has no shape yet: run the model once on a batch first"
    if parameter.numel() >= slot_words.LIMIT:
        return f"'{name}' has more than {slot_words.LIMIT:,} weights: split the layer"
    if not parameter.is_floating_point():
        return (
            f"'{name}' is {parameter.dtype}, but fixed values are real numbers: leave it out with "
            f"exclude=['{name}']"
        )
    if parameter.is_meta:
        return f"'{name}' has no memory: call model.to_empty(device='cpu') first"
    if getattr(layer, "sparse", False):
        return f"'{module}' has sparse gradients: build it with sparse=False"
    if getattr(layer, "max_norm", None) is not None:
        return (
            f"'{name}' has a max_norm, which fixed values cannot obey: leave it out with "
            f"exclude=['{name}'], or build it without max_norm"
        )
    return None


def unknown_problems(module: str, layer: nn.Module, own: dict[str, nn.Parameter]) -> Iterator[str]:
    """Yield problems of an unknown kind of layer, whose parameters' shapes are those of weights."""
    for name, parameter in own.items():
        if not _lazy(parameter) and parameter.requires_grad and not is_no_matrix(parameter):
            yield (
                f"'{full(module, name)}' is a parameter of {type(layer).__name__}, an unknown kind "
                f"of layer: leave it out with exclude=['{full(module, name)}']"
            )


def _lazy(parameter: nn.Parameter) -> bool:
    """Return `is_lazy`, but as a plain bool, so that it does not narrow types."""
    return is_lazy(parameter)
