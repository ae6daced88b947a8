"""Which parameters of a layer are weights that can be chosen, their fans, and what forbids it."""

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
    """A parameter that can be chosen.

    Attributes:
        name: In its layer.
        fan: Its layer's.
        conv: Whether it is a convolution's.
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
    """Yield the projections of queries, keys and values, packed in one parameter or not."""
    width = layer.embed_dim
    if layer.in_proj_weight is not None:  # (3 width, width)
        yield Weight("in_proj_weight", Fan(width, width))
        return
    for name, features in (("q", width), ("k", layer.kdim), ("v", layer.vdim)):
        yield Weight(f"{name}_proj_weight", Fan(features, width))  # (width, features)


def recurrent(layer: Any) -> Iterator[Weight]:
    """Yield the weights of a recurrent layer or cell, gate by gate of the same fan."""
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
    """Return the weights that `layers.register_operation` was told of; None where of none."""
    operation: Any = feedback_class(type(layer))
    if operation is None:
        return None
    inputs: dict[str, int] = operation.inputs_of(layer)
    sizes = {name: getattr(layer, name).numel() for name in inputs}
    return [Weight(name, Fan(into, sizes[name] // into)) for name, into in inputs.items()]


def weights_of(layer: nn.Module) -> list[Weight] | None:
    """Return the weights of a layer that can be chosen; None where its kind is not known."""
    for types, read in KNOWN:
        if isinstance(layer, types):
            return list(read(layer))
    return registered(layer)


def offsets_of(layer: nn.Module) -> list[str]:
    """Return the names of a layer's biases that learn, and of what a norm scales and shifts by."""
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
        # Recurrent kernels take a bias or none for all gates, and what a forward of one's own takes
        # is not known: so it stays, as zeros that never learn.
        layer.get_parameter(name).zero_().requires_grad_(False)
        return
    setattr(layer, name, None)
    if isinstance(layer, NORMS):
        vars(layer).update({k: False for k in ("affine", "elementwise_affine") if k in vars(layer)})


def full(module: str, name: str) -> str:
    """Return a parameter's name in the model."""
    return f"{module}.{name}" if module else name


def is_padded(layer: nn.Module) -> bool:
    """Whether a row of an embedding stays as it is, which a row of chosen values could not."""
    return getattr(layer, "padding_idx", None) is not None


def weight_problem(
    module: str, layer: nn.Module, weight: Weight, parameter: nn.Parameter | None
) -> str | None:
    """Return why a weight cannot be chosen, None where it can.

    Args:
        module: The layer's name in the model.
        layer: The layer.
        weight: What `weights_of` found.
        parameter: Its own under this name, if any.
    """
    name = full(module, weight.name)
    if parameter is None:
        return (
            f"'{name}' is computed from other parameters: convert before you prune or put "
            f"spectral normalisation on, or leave it by exclude=['{module}']"
        )
    if _lazy(parameter):
        return f"'{name}' has no shape yet: run the model once on a batch first"
    if parameter.numel() >= slot_words.LIMIT:
        return f"'{name}' has more than {slot_words.LIMIT:,} weights: split the layer"
    if not parameter.is_floating_point():
        return f"'{name}' is {parameter.dtype}, and values are real: leave it by exclude=['{name}']"
    if parameter.is_meta:
        return f"'{name}' has no memory: call model.to_empty(device='cpu') first"
    if getattr(layer, "sparse", False):
        return f"'{module}' has sparse gradients: build it with sparse=False"
    if getattr(layer, "max_norm", None) is not None:
        return (
            f"'{name}' has a max_norm, which fixed values cannot keep to: leave it by "
            f"exclude=['{name}'], or build it without"
        )
    return None


def unknown_problems(module: str, layer: nn.Module, own: dict[str, nn.Parameter]) -> Iterator[str]:
    """Yield the parameters of an unknown kind of layer that may be weights, by their shapes."""
    for name, parameter in own.items():
        if not _lazy(parameter) and parameter.requires_grad and not is_no_matrix(parameter):
            yield (
                f"'{full(module, name)}' is a parameter of {type(layer).__name__}, a layer kind "
                f"that is not known here: leave it by exclude=['{full(module, name)}']"
            )


def _lazy(parameter: nn.Parameter) -> bool:
    """Return `is_lazy`, without what it tells the type check of all others."""
    return is_lazy(parameter)
