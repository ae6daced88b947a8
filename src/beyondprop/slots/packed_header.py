"""The metadata of a packed file, written and read."""

import json
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from beyondprop.errors import UserError
from beyondprop.random.streams import stream_of
from beyondprop.slots.contents import own_state
from beyondprop.slots.kinds import Kind, Reels
from beyondprop.slots.machine import Machine
from beyondprop.slots.masks import MulticoatedSupermask, SignedSupermask, Supermask
from beyondprop.slots.source import Source
from beyondprop.slots.values import SHARINGS, VALUES

DTYPES = {
    str(kind).removeprefix("torch."): kind
    for kind in (torch.float32, torch.float64, torch.float16, torch.bfloat16)
}
"""The types that converted weights may have."""

KINDS: dict[str, tuple[Any, tuple[str, ...]]] = {
    Reels.name: (Reels, ("slots",)),
    Supermask.name: (Supermask, ()),
    MulticoatedSupermask.name: (MulticoatedSupermask, ("keeps",)),
    SignedSupermask.name: (SignedSupermask, ()),
}
"""Every kind by its name in packed files, with the settings that only it has."""


@dataclass(frozen=True)
class PackedReel:
    """The settings of one converted parameter.

    Attributes:
        name: The parameter's name.
        shape: The parameter's shape.
        deviation: σ of its fixed values.
        dtype: The parameter's type.
    """

    name: str
    shape: torch.Size
    deviation: float
    dtype: torch.dtype


@dataclass(frozen=True)
class Header:
    """A packed file's parsed metadata.

    Attributes:
        seed: Determines all fixed values, together with the parameters' names.
        kind: The kind of the converted weights.
        reels: The converted parameters.
        biases: Whether biases and the affine part of normalisation were kept.
        removed: Names of removed parameters.
        tied: Additional names of parameters and buffers, each with the name of the stored tensor.
    """

    KEYS: ClassVar = ("seed", "kind", "reels", "biases", "removed", "tied")
    seed: int
    kind: Kind
    reels: tuple[PackedReel, ...]
    biases: bool
    removed: tuple[str, ...]
    tied: dict[str, str]

    def source(self, reel: PackedReel) -> Source:
        """Return the fixed values of a parameter, with arbitrary initial scores."""
        kind, stream = self.kind, stream_of(reel.name)
        return Source(
            self.seed,
            stream,
            reel.shape,
            kind.planes,
            kind.values,
            kind.sharing,
            reel.deviation,
            1.0,
            kind.centred,
        )


def write(machine: Machine) -> dict[str, str]:
    """Return the metadata of a machine's packed file."""
    _, tied = own_state(machine)
    reels = [
        {
            "name": reel.name,
            "shape": list(reel.source.shape),
            "deviation": reel.source.deviation.hex(),
            "dtype": str(reel.parameter.dtype).removeprefix("torch."),
        }
        for reel in machine.reels
    ]
    return {
        "seed": str(machine.seed),
        "kind": _text(machine.reels[0].kind.settings()),
        "reels": _text(reels),
        "biases": _text(machine.biases),
        "removed": _text(list(machine.report.removed)),
        "tied": _text(tied),
    }


def parse(header: dict[str, str]) -> Header:
    """Return parsed metadata.

    Raises:
        ValueError: The metadata are not valid.
    """
    seed, kind, reels, biases, removed, tied = (_value(header, key) for key in Header.KEYS)
    if type(seed) is not int or not 0 <= seed < 2**63:
        raise ValueError("its seed is not a valid seed")
    if not isinstance(reels, list) or not reels:
        raise ValueError("it names no converted weights")
    parsed = tuple(_reel(entry) for entry in reels)
    if len({reel.name for reel in parsed}) < len(parsed):
        raise ValueError("it names a parameter twice")
    if not isinstance(removed, list) or not all(isinstance(name, str) for name in removed):
        raise ValueError("the removed entries are not a list of names")
    if not isinstance(tied, dict) or not all(isinstance(name, str) for name in tied.values()):
        raise ValueError("the tied entries are not a table of names")
    if not isinstance(biases, bool):
        raise ValueError("'biases' is neither true nor false")
    try:
        return Header(seed, kind_from(kind), parsed, biases, tuple(removed), tied)
    except UserError as error:
        raise ValueError(str(error)) from None


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _value(header: dict[str, str], key: str) -> Any:
    try:
        return json.loads(header.get(key, ""))
    except (ValueError, RecursionError):
        raise ValueError(f"its '{key}' is damaged") from None


def _reel(entry: Any) -> PackedReel:
    try:
        name, shape, dtype = entry["name"], entry["shape"], DTYPES[entry["dtype"]]
        deviation = float.fromhex(entry["deviation"])
    except (LookupError, TypeError, ValueError, OverflowError):
        raise ValueError("it describes a converted weight that cannot be") from None
    sizes = isinstance(shape, list) and all(type(size) is int and size >= 0 for size in shape)
    highest = min(torch.finfo(kind).max for kind in (dtype, torch.float32))  # drawn as float32
    if not isinstance(name, str) or not sizes or not 0 < deviation <= highest:
        raise ValueError("it describes a converted weight that cannot be")
    if math.prod(shape) >= 2**32:
        raise ValueError(f"'{name}' has too many weights")
    return PackedReel(name, torch.Size(shape), deviation, dtype)


def kind_from(settings: Any) -> Kind:
    """Return the kind with these `Kind.settings`, which has the same options for each weight.

    The settings do not contain initial scores and the selection, which have their defaults.

    Args:
        settings: Settings from a packed file, of any type.

    Raises:
        UserError: These are not the settings of a known kind.
    """
    if not isinstance(settings, dict):
        raise UserError(
            f"the kind of the weights must be described by names and values, not by {settings!r}"
        )
    make, own = _named(KINDS, settings, "kind")
    expected = {"kind", "values", "sharing", *own}
    if settings.keys() != expected:
        raise UserError(
            f"the settings of '{settings['kind']}' must be {', '.join(sorted(expected))}, not "
            f"{', '.join(sorted(map(str, settings)))}: the file is damaged or was made by another "
            "version"
        )
    values = _named(VALUES, settings, "values")()
    sharing = _named(SHARINGS, settings, "sharing")()
    kind: Kind = make(values=values, sharing=sharing, **{key: settings[key] for key in own})
    return kind


def _named(known: dict[str, Any], settings: dict[Any, Any], key: str) -> Any:
    name = settings.get(key)
    if not isinstance(name, str) or name not in known:
        raise UserError(
            f"'{key}' of the weights must be one of {', '.join(known)}, not {name!r}: the file is "
            "damaged or was made by another version"
        )
    return known[name]
