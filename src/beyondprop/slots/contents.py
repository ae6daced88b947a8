"""What a converted model consists of: packed choices among fixed values, and all that is free."""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn

from beyondprop.errors import UserError
from beyondprop.slots.kinds import Kind
from beyondprop.slots.machine import Machine
from beyondprop.slots.packing import bits_of, pack, unpack
from beyondprop.slots.reel import Reel
from beyondprop.slots.source import Source

CHUNK = 2**16
"""How many weights are packed at a time: whole bytes, whatever a weight takes."""


@dataclass(frozen=True)
class Contents:
    """All that tells one converted model from another of the same seed and settings.

    Attributes:
        chosen: Of each converted parameter its options, packed, uint8 (bytes,) on the CPU.
        free: Of each other parameter and buffer its numbers.
    """

    chosen: dict[str, Tensor]
    free: dict[str, Tensor]


def take(machine: Machine) -> Contents:
    """Return copies of what a machine's model consists of now.

    Raises:
        UserError: Its state is not one that can be told by names, or weights left their values.
    """
    state, _ = own_state(machine)
    chosen = {reel.name: options_of(reel) for reel in machine.reels}
    free = {n: t.detach().clone() for n, t in state.items() if n not in chosen}
    return Contents(chosen, free)


@torch.no_grad()
def put(machine: Machine, contents: Contents) -> None:
    """Have a machine's model consist of this."""
    put_free(machine, contents.free)
    for reel in machine.reels:
        packed = contents.chosen[reel.name]
        reel.parameter.copy_(weights_of(reel.kind, reel.source, packed, reel.parameter))


@torch.no_grad()
def put_free(machine: Machine, free: dict[str, Tensor]) -> None:
    """Have all that is not chosen be this."""
    state, _ = own_state(machine)
    for name, tensor in free.items():
        state[name].copy_(tensor)


def unsaved(model: nn.Module) -> dict[str, Tensor]:
    """Return copies of the buffers that a state dict does not hold."""
    saved = {id(tensor) for tensor in model.state_dict(keep_vars=True).values()}
    return {n: t.clone() for n, t in model.named_buffers() if id(t) not in saved}


@torch.no_grad()
def put_buffers(model: nn.Module, buffers: dict[str, Tensor]) -> None:
    """Have a model's buffers be these."""
    for name, tensor in buffers.items():
        model.get_buffer(name).copy_(tensor)


def own_state(machine: Machine) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return `state_of` a converted model.

    Raises:
        UserError: Some converted parameter is no longer in it, or as `state_of`.
    """
    own = dict(machine.model.named_parameters(remove_duplicate=False))
    for reel in machine.reels:
        if own.get(reel.name) is not reel.parameter:
            raise UserError(
                f"'{reel.name}' was replaced or taken away since the model was converted: change "
                "the model first, then convert it"
            )
    return state_of(machine.model, [reel.name for reel in machine.reels])


def state_of(
    model: nn.Module, first: Collection[str], without: Collection[str] = ()
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return a model's own parameters and saved buffers, and the further names of tied ones.

    Args:
        model: Any.
        first: Names of parameters that are to go by these, where they have several.
        without: Names that are passed over.

    Raises:
        UserError: Its state dict holds something else, or lacks a parameter.
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


def options_of(reel: Reel) -> Tensor:
    """Return which option each weight is, packed, uint8 (bytes,) on the CPU."""
    options = reel.option().reshape(-1).cpu()
    bits = bits_of(reel.kind.count)
    parts = [torch.from_numpy(pack(part.numpy(), bits)) for part in options.split(CHUNK)]
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.uint8)


def bytes_of(kind: Kind, weights: int) -> int:
    """Return how many bytes the options of so many weights take."""
    return (weights * bits_of(kind.count) + 7) // 8


def unpacked(kind: Kind, packed: Tensor, start: int, stop: int) -> Tensor:
    """Return the options of some weights, int64; ``start`` is a multiple of 8."""
    bits = bits_of(kind.count)
    data = packed[start * bits // 8 : bytes_of(kind, stop)]
    return torch.from_numpy(unpack(data.numpy(), bits, stop - start))


@torch.no_grad()
def weights_of(kind: Kind, source: Source, packed: Tensor, like: Tensor) -> Tensor:
    """Return the weights of packed options, of the source's shape, in the type of ``like``."""
    count = source.shape.numel()
    flat = torch.empty(count, dtype=like.dtype, device=like.device)
    step = max(8, min(CHUNK, 8 * CHUNK // kind.planes) // 8 * 8)
    for start in range(0, count, step):
        stop = min(start + step, count)
        option = unpacked(kind, packed, start, stop).to(like.device)
        places = torch.arange(start, stop, device=like.device)
        options = kind.options(source.values_at(places, like))
        flat[start:stop] = options.gather(0, option.unsqueeze(0)).squeeze(0)
    return flat.reshape(source.shape)
