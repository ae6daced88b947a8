"""The packed file: a safetensors file of choices, and the settings to draw their values.

Its metadata, all strings: ``format`` and ``version``; ``seed``; ``kind``, ``Kind.settings()`` as
JSON; ``reels``, a JSON list of each converted parameter's name, shape, σ as a hexadecimal float and
dtype; ``biases``; ``removed``, a JSON list of the removed parameters; ``tied``, a JSON object of
additional names of the same tensors; ``digest``, SHA-256 of everything else. Its tensors:
``chosen.NAME``, the options of a converted parameter's weights, packed by `contents.pack_bits`,
and ``free.NAME``, every other parameter and buffer.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from beyondprop.errors import UserError
from beyondprop.random import slot_words
from beyondprop.slots import packed_header
from beyondprop.slots.contents import CHUNK, Contents, bytes_of, unpack_options
from beyondprop.slots.packed_header import Header

FORMAT, VERSION = "beyondprop-slots", 1


@dataclass(frozen=True)
class PackedFile:
    """A packed file that was read and validated.

    Attributes:
        path: The path of the file.
        header: Its metadata, as strings, without its digest.
        fields: The parsed metadata.
        contents: The choices, and the free tensors.
    """

    path: Path
    header: dict[str, str]
    fields: Header
    contents: Contents


def encode(header: dict[str, str], contents: Contents) -> bytes:
    """Return a packed file's bytes: the same for the same contents.

    Raises:
        UserError: A tensor contains NaN, or its type cannot be stored.
    """
    import safetensors.torch

    tensors = {f"chosen.{name}": tensor for name, tensor in contents.chosen.items()}
    for name, tensor in contents.free.items():
        if _no_numbers(tensor):
            raise UserError(f"'{name}' contains NaN, which cannot be packed")
        tensors[f"free.{name}"] = tensor.cpu().contiguous()
    header = {"format": FORMAT, "version": str(VERSION), **header}
    try:
        content = safetensors.torch.save(tensors, header | {"digest": digest(header, tensors)})
    except (KeyError, ValueError) as error:
        raise UserError(f"parameters or buffers ({error}) cannot be packed") from None
    size = int.from_bytes(content[:8], "little")  # safetensors does not fix the order of keys
    text = json.dumps(json.loads(content[8 : 8 + size]), sort_keys=True, separators=(",", ":"))
    ordered = text.encode() + b" " * (-len(text) % 8)
    return len(ordered).to_bytes(8, "little") + ordered + content[8 + size :]


def digest(header: dict[str, str], tensors: dict[str, Tensor]) -> str:
    """Return the SHA-256 of the metadata and of each tensor's name, type, shape and bytes."""
    sha = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        sha.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        sha.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()


def read(path: Path) -> PackedFile:
    """Return a packed file after checking all of it; no code in it is run.

    Raises:
        UserError: The file cannot be read, is not a valid packed file, or has an unknown version.
    """
    header, tensors = _open(path)
    if header.get("format") != FORMAT:
        raise UserError(f"{path} is not a packed model: write one with slots.pack(model, path)")
    version = header.get("version", "")
    if version != str(VERSION):
        raise UserError(
            f"{path} has version {version[:20]!r}, but this beyondprop reads version {VERSION}: "
            "install a newer one"
        )
    if header.pop("digest", None) != digest(header, tensors):
        raise UserError(
            f"{path} was damaged or changed after it was written: get it again, or pack the model "
            "again"
        )
    try:
        fields = packed_header.parse(header)
        contents = _contents(fields, tensors)
    except ValueError as error:
        raise UserError(
            f"{path} does not describe a packed model ({error}): pack the model again"
        ) from None
    told = {key: text for key, text in header.items() if key in fields.KEYS}
    return PackedFile(path, told, fields, contents)


def _open(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    import safetensors.torch

    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    try:
        tensors = safetensors.torch.load(content)
        size = int.from_bytes(content[:8], "little")
        return json.loads(content[8 : 8 + size]).get("__metadata__") or {}, tensors
    except (safetensors.SafetensorError, LookupError, ValueError, RuntimeError, TypeError):
        raise UserError(
            f"{path} is not a complete safetensors file: get it again, or pack the model again"
        ) from None


def _contents(fields: Header, tensors: dict[str, Tensor]) -> Contents:
    chosen = {}
    free = {name[5:]: tensor for name, tensor in tensors.items() if name.startswith("free.")}
    for reel in fields.reels:
        packed = tensors.get(f"chosen.{reel.name}")
        count = reel.shape.numel()
        if packed is None or count >= slot_words.LIMIT:
            raise ValueError(f"'{reel.name}' has no choices")
        if packed.dtype != torch.uint8 or packed.shape != (bytes_of(fields.kind, count),):
            raise ValueError(f"the choices of '{reel.name}' are too many or too few")
        for start in range(0, count, CHUNK):
            stop = min(start + CHUNK, count)
            if int(unpack_options(fields.kind, packed, start, stop).max()) >= fields.kind.count:
                raise ValueError(f"'{reel.name}' has choices out of range")
        chosen[reel.name] = packed
    if len(chosen) + len(free) != len(tensors) or not chosen.keys().isdisjoint(free):
        raise ValueError("it contains unknown tensors")
    if any(_no_numbers(tensor) for tensor in free.values()):
        raise ValueError("it contains NaN")
    return Contents(chosen, free)


def _no_numbers(tensor: Tensor) -> bool:
    wide = tensor if tensor.is_complex() else tensor.double()  # float8 has no isnan
    return bool(wide.isnan().any())
