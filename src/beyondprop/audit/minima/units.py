"""Which units of a network can be permuted without a change of its function.

For chains of linear layers and convolutions this follows from the layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from beyondprop._torch.modules import children, has_parameters, is_chain, is_made
from beyondprop.errors import UserError

Orders = Sequence[Tensor]
"""An order of the units of each hidden layer, (units,) int64."""

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
WEIGHTED = (nn.Linear, *CONVOLUTIONS)
BY_CHANNEL = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
)
LAST = (nn.LayerNorm, nn.RMSNorm)
NORMS = (*BY_CHANNEL, *LAST, nn.GroupNorm, nn.PReLU)
"""Layers with parameters for each unit; the last one is an activation."""
KNOWN = (*WEIGHTED, *NORMS)
POOLS = (
    nn.MaxPool1d,
    nn.MaxPool2d,
    nn.MaxPool3d,
    nn.AvgPool1d,
    nn.AvgPool2d,
    nn.AvgPool3d,
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveAvgPool3d,
    nn.AdaptiveMaxPool1d,
    nn.AdaptiveMaxPool2d,
    nn.AdaptiveMaxPool3d,
)
ELEMENTWISE = (
    nn.CELU,
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.ELU,
    nn.GELU,
    nn.Hardshrink,
    nn.Hardsigmoid,
    nn.Hardswish,
    nn.Hardtanh,
    nn.Identity,
    nn.LeakyReLU,
    nn.LogSigmoid,
    nn.Mish,
    nn.ReLU,
    nn.ReLU6,
    nn.SELU,
    nn.SiLU,
    nn.Sigmoid,
    nn.Softplus,
    nn.Softshrink,
    nn.Softsign,
    nn.Tanh,
    nn.Tanhshrink,
    nn.Threshold,
)


@dataclass(frozen=True)
class Place:
    """The position of a hidden layer's units in a tensor.

    Attributes:
        name: Name of the tensor in the model's state.
        axis: Axis of the tensor.
        each: Number of consecutive entries along the axis for one unit; after a flattening, the
            positions of a channel.
    """

    name: str
    axis: int
    each: int = 1


@dataclass(frozen=True)
class Hidden:
    """The units of a hidden layer, which can be permuted.

    Attributes:
        layer: Name of the layer.
        units: Number of units.
        places: Their positions in tensors.
    """

    layer: str
    units: int
    places: tuple[Place, ...]


def hidden_units(model: nn.Module) -> list[Hidden]:
    """Return the hidden layers of a chain whose units can be permuted.

    The chain is an `nn.Sequential`, possibly nested, of linear layers and convolutions with norms,
    activations, pooling and flattening between them. Before the first of them and after the last,
    any modules without parameters are allowed.

    Raises:
        UserError: The architecture is not such a chain; the message names the unknown part.
    """
    chain = list(_chain(model, ""))
    if len({id(module) for _, module in chain}) < len(chain):
        raise _unknown("a module that occurs twice")
    weighted = [i for i, (_, module) in enumerate(chain) if isinstance(module, WEIGHTED)]
    for name, module in chain:
        if not isinstance(module, KNOWN) and has_parameters(module):
            raise _unknown(f"'{name}', a {type(module).__name__}")
    for name, module in (chain[i] for i in weighted):
        if is_made(module):
            raise _unknown(f"'{name}', whose weight is made from other parameters")
        if getattr(module, "groups", 1) != 1:
            raise _unknown(f"'{name}', a convolution of groups")
    return [
        _between(chain[begin], chain[begin + 1 : end], chain[end])
        for begin, end in pairwise(weighted)
    ]


def permuted(
    tensors: Mapping[str, Tensor], hidden: Sequence[Hidden], orders: Orders
) -> dict[str, Tensor]:
    """Return a network's tensors with the units of each hidden layer permuted.

    Args:
        tensors: Tensors of the model's state, by name; missing ones are ignored.
        hidden: The result of `hidden_units`.
        orders: The unit for each position.
    """
    found = dict(tensors)
    for layer, order in zip(hidden, orders, strict=True):
        for place in layer.places:
            if place.name in found:
                found[place.name] = reordered(found[place.name], place, order)
    return found


def reordered(tensor: Tensor, place: Place, order: Tensor) -> Tensor:
    """Return a tensor with the units along one of its axes permuted."""
    entries = order[:, None] * place.each + torch.arange(place.each)  # (units, each)
    return tensor.index_select(place.axis, entries.flatten().to(tensor.device))


def _chain(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules of a chain in the order in which they run."""
    if is_chain(module):
        for inner, child in children(module, name):
            yield from _chain(child, inner)
    elif name or isinstance(module, WEIGHTED):
        yield name, module
    else:
        raise _unknown(f"a {type(module).__name__}, which is not a chain of layers")


def _between(
    first: tuple[str, nn.Module],
    others: Sequence[tuple[str, nn.Module]],
    last: tuple[str, nn.Module],
) -> Hidden:
    """Return the units of a layer, and their positions up to the next layer with weights."""
    (name, layer), (next_name, following) = first, last
    conv = isinstance(layer, CONVOLUTIONS)
    units = layer.get_parameter("weight").shape[0]
    flat = not conv
    places = [Place(f"{name}.weight", 0)]
    places += [Place(f"{name}.bias", 0)] * (getattr(layer, "bias", None) is not None)
    for inner, module in others:
        if isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) == (1, -1):
            flat = True
        elif isinstance(module, POOLS) and conv and not flat:
            continue
        elif isinstance(module, NORMS):
            places += _of_norm(inner, module, units, conv)
        elif not isinstance(module, ELEMENTWISE):
            raise _unknown(f"'{inner}', a {type(module).__name__}, between layers with weights")
    into = following.get_parameter("weight").shape[1]
    channels = isinstance(following, CONVOLUTIONS)
    if channels != (not flat) or into % units or (not conv or channels) * (into != units):
        raise _unknown(f"'{next_name}', whose inputs do not match the outputs of '{name}'")
    return Hidden(name, units, (*places, Place(f"{next_name}.weight", 1, into // units)))


def _of_norm(name: str, module: nn.Module, units: int, conv: bool) -> list[Place]:
    """Return the positions of the units in the tensors of a norm or of a learned activation."""
    if isinstance(module, nn.GroupNorm) and module.num_groups != 1:
        raise _unknown(f"'{name}', a norm of groups of channels")
    if isinstance(module, LAST) and (conv or tuple(module.normalized_shape) != (units,)):
        raise _unknown(f"'{name}', a {type(module).__name__} over more than the layer's units")
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    if isinstance(module, nn.PReLU) and module.num_parameters == 1:
        return []
    vectors = {inner: each for inner, each in tensors.items() if each.dim() == 1}
    if any(len(each) % units for each in vectors.values()):
        raise _unknown(f"'{name}', whose parameters do not match the layer's units")
    return [Place(f"{name}.{i}", 0, len(each) // units) for i, each in vectors.items()]


def _unknown(what: str) -> UserError:
    return UserError(f"no matching of units is known here for a network with {what}")
