"""The contents of a converted model: packed choices among fixed values, and free tensors."""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from beyondprop.errors import UserError
from beyondprop.slots.kinds import Kind
from beyondprop.slots.machine import Machine
from beyondprop.slots.reel import Reel
from beyondprop.slots.source import Source

Array = np.ndarray[Any, np.dtype[Any]]

CHUNK = 2**16
"""How many weights are packed at a time: a multiple of 8, so that chunks fill whole bytes."""


@dataclass(frozen=True)
class Contents:
    """Everything by which converted models with the same seed and settings can differ.

    Attributes:
        chosen: The packed options of each converted parameter, uint8 (bytes,) on the CPU.
        free: The numbers of each other parameter and buffer.
    """

    chosen: dict[str, Tensor]
    free: dict[str, Tensor]


def take(machine: Machine) -> Contents:
    """Return a copy of the current contents of a machine's model.

    Raises:
        UserError: Its state cannot be identified by names, or a weight is not one of its values.
    """
    state, _ = own_state(machine)
    chosen = {reel.name: pack_options(reel) for reel in machine.reels}
    free = {n: t.detach().clone() for n, t in state.items() if n not in chosen}
    return Contents(chosen, free)


@torch.no_grad()
def put(machine: Machine, contents: Contents) -> None:
    """Write contents into a machine's model."""
    put_free(machine, contents.free)
    for reel in machine.reels:
        packed = contents.chosen[reel.name]
        reel.parameter.copy_(weights_from(reel.kind, reel.source, packed, reel.parameter))


@torch.no_grad()
def put_free(machine: Machine, free: dict[str, Tensor]) -> None:
    """Write everything that is not chosen into a machine's model."""
    state, _ = own_state(machine)
    for name, tensor in free.items():
        state[name].copy_(tensor)


def unsaved(model: nn.Module) -> dict[str, Tensor]:
    """Return copies of the buffers that a state dict does not hold."""
    saved = {id(tensor) for tensor in model.state_dict(keep_vars=True).values()}
    return {n: t.clone() for n, t in model.named_buffers() if id(t) not in saved}


@torch.no_grad()
def put_buffers(model: nn.Module, buffers: dict[str, Tensor]) -> None:
    """Write buffers into a model."""
    for name, tensor in buffers.items():
        model.get_buffer(name).copy_(tensor)


def own_state(machine: Machine) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return `state_of` a converted model.

    Raises:
        UserError: A converted parameter is no longer in the model, or `state_of` raises.
    """
    own = dict(machine.model.named_parameters(remove_duplicate=False))
    for reel in machine.reels:
        if own.get(reel.name) is not reel.parameter:
            raise UserError(
                f"'{reel.name}' was replaced or removed since the model was converted: change "
                "the model first, then convert it"
            )
    return state_of(machine.model, [reel.name for reel in machine.reels])


def state_of(
    model: nn.Module, first: Collection[str], without: Collection[str] = ()
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return a model's parameters and saved buffers, and the additional names of tied ones.

    Args:
        model: Any model.
        first: Names to use for parameters that have several.
        without: Names to leave out.

    Raises:
        UserError: The model's state dict holds something else, or lacks a parameter.
    """
    named = {id(model.get_parameter(name)): name for name in first}
    live = {id(tensor) for tensor in chain(model.parameters(), model.buffers())}
    unseen = {id(tensor) for tensor in model.parameters()}
    state, tied = {}, {}
    for name, value in model.state_dict(keep_vars=True).items():
        if id(value) not in live:
            raise UserError(
                f"'{name}' of {type(model).__name__}'s state dict is neither a parameter nor a "
                "buffer: keep it in a buffer, which can be packed"
            )
        unseen.discard(id(value))
        if name in without:
            continue
        known = named.setdefault(id(value), name)
        if known == name:
            state[name] = value
        else:
            tied[name] = known
    if unseen:
        lost = next(n for n, p in model.named_parameters() if id(p) in unseen)
        raise UserError(f"'{lost}' is missing in {type(model).__name__}'s state dict")
    return state, tied


def pack_options(reel: Reel) -> Tensor:
    """Return the option of each weight, packed, uint8 (bytes,) on the CPU."""
    options = reel.option().reshape(-1).cpu()  # (n,)
    bits = reel.kind.bits
    parts = [torch.from_numpy(pack_bits(part.numpy(), bits)) for part in options.split(CHUNK)]
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.uint8)


def bytes_of(kind: Kind, weights: int) -> int:
    """Return the number of bytes for the options of this many weights."""
    return (weights * kind.bits + 7) // 8


def unpack_options(kind: Kind, packed: Tensor, start: int, stop: int) -> Tensor:
    """Return the options of some weights, int64; ``start`` must be a multiple of 8."""
    bits = kind.bits
    data = packed[start * bits // 8 : bytes_of(kind, stop)]
    return torch.from_numpy(unpack_bits(data.numpy(), bits, stop - start))


@torch.no_grad()
def weights_from(kind: Kind, source: Source, packed: Tensor, like: Tensor) -> Tensor:
    """Return the weights of packed options, with the source's shape and the type of ``like``."""
    count = source.shape.numel()
    flat = torch.empty(count, dtype=like.dtype, device=like.device)  # (n,)
    for start in range(0, count, CHUNK):
        stop = min(start + CHUNK, count)
        option = unpack_options(kind, packed, start, stop).to(like.device)  # (places,)
        places = torch.arange(start, stop, device=like.device)
        values = source.value_of(kind.slot(option), places, like)  # (places,), whatever K is
        flat[start:stop] = kind.weight(option, values)
    return flat.reshape(source.shape)


def pack_bits(numbers: Array, bits: int) -> Array:
    """Return whole numbers below 2^bits as bytes, ``ceil(n bits / 8)`` of them.

    Bits are in order from the lowest, both those of a number and those of a byte. The rest of the
    last byte is zero.
    """
    planes = numbers.reshape(-1, 1) >> np.arange(bits) & 1  # (n, bits)
    return np.packbits(planes.astype(np.uint8), bitorder="little")


def unpack_bits(data: Array, bits: int, count: int) -> Array:
    """Return the first ``count`` numbers from the bytes of `pack_bits`, int64."""
    planes = np.unpackbits(data, count=count * bits, bitorder="little").reshape(count, bits)
    return planes.astype(np.int64) @ (1 << np.arange(bits))
