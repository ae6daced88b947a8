"""Which parameters of a layer are weights that can be chosen, and their fans."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from beyondprop.slots.values import Fan

Conv = nn.Conv1d | nn.Conv2d | nn.Conv3d
ConvTranspose = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d
Norm = (
    nn.BatchNorm1d
    | nn.BatchNorm2d
    | nn.BatchNorm3d
    | nn.SyncBatchNorm
    | nn.InstanceNorm1d
    | nn.InstanceNorm2d
    | nn.InstanceNorm3d
    | nn.GroupNorm
    | nn.LayerNorm
    | nn.RMSNorm
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
    fan = Fan(into, out)
    yield Weight("weight", fan, conv=True)


def embedding(layer: Any) -> Iterator[Weight]:
    """Yield the weight of an embedding, (rows, features): a row is read, not summed over."""
    yield Weight("weight", Fan(layer.embedding_dim, layer.embedding_dim))


def attention(layer: Any) -> Iterator[Weight]:
    """Yield the projections of queries, keys and values, packed in one parameter or not."""
    width = layer.embed_dim
    packed = layer.in_proj_weight is not None
    if packed:
        yield Weight("in_proj_weight", Fan(width, width))
        return
    for name, features in (("q", width), ("k", layer.kdim), ("v", layer.vdim)):
        yield Weight(f"{name}_proj_weight", Fan(features, width))


def recurrent(layer: Any) -> Iterator[Weight]:
    """Yield the weights of a recurrent layer or cell, gate by gate of the same fan."""
    for name, weight in layer.named_parameters(recurse=False):
        if name.startswith("weight"):
            out = layer.hidden_size
            yield Weight(name, Fan(weight.shape[1], out))


Reader = Callable[[Any], Iterator[Weight]]

KNOWN: tuple[tuple[tuple[type[nn.Module], ...], Reader], ...] = (
    ((nn.Linear,), linear),
    ((nn.Bilinear,), bilinear),
    ((nn.Conv1d, nn.Conv2d, nn.Conv3d), conv),
    ((nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), conv),
    ((nn.Embedding, nn.EmbeddingBag), embedding),
    ((nn.MultiheadAttention,), attention),
    ((nn.RNNBase, nn.RNNCellBase), recurrent),
)
NORMS = Norm.__args__


def weights_of(layer: nn.Module) -> list[Weight] | None:
    """Return the weights of a layer that can be chosen; None where its kind is not known."""
    for types, read in KNOWN:
        if isinstance(layer, types):
            return list(read(layer))
    return None


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
    """Have a layer go without a bias or an affine parameter."""
    if isinstance(layer, (nn.RNNBase, nn.RNNCellBase)):
        # Their kernels take a bias or none for all gates, so it stays, as zeros that never learn.
        layer.get_parameter(name).zero_().requires_grad_(False)
        return
    setattr(layer, name, None)
    if isinstance(layer, NORMS):
        vars(layer).update({k: False for k in ("affine", "elementwise_affine") if k in vars(layer)})
