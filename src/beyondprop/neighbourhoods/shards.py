"""Activations on disk, in safetensors files, and a check of free space."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from beyondprop.errors import UserError
from beyondprop.files import GIB, StorageError, cannot, write_bytes


def path_of(folder: Path, number: int) -> Path:
    """Return the file of a shard."""
    return folder / f"{number:05}.safetensors"


def files(folder: Path) -> list[Path]:
    """Return the shards in a folder."""
    return sorted(folder.glob("[0-9]" * 5 + "*.safetensors"))


def write(folder: Path, number: int, tensors: Sequence[Tensor]) -> str:
    """Write a shard, and return the SHA-256 of its file.

    Args:
        folder: The folder of the neighbourhood.
        number: The number of the shard.
        tensors: The tensors, ``(samples, ...)`` each.

    Raises:
        UserError: The disk is too full for the shard.
        StorageError: The file cannot be written.
    """
    need = sum(each.numel() * each.element_size() for each in tensors)
    check_room(folder, need)
    named = {str(place): each.contiguous() for place, each in enumerate(tensors)}
    content: bytes = safetensors.torch.save(named)
    write_bytes(path_of(folder, number), content)
    return hashlib.sha256(content).hexdigest()


def read(folder: Path, number: int, digest: str) -> list[Tensor]:
    """Return the tensors of a shard.

    Raises:
        StorageError: The file is missing, or its content has changed.
    """
    path = path_of(folder, number)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise cannot("read", path, error) from None
    if hashlib.sha256(content).hexdigest() != digest:
        raise StorageError(
            f"the content of {path} has changed: delete {folder} and run again to capture its "
            "activations again"
        )
    try:
        found = safetensors.torch.load(content)
    except safetensors.SafetensorError:  # the digest matches, so another program wrote it
        raise StorageError(f"{path} is not a safetensors file: delete {folder}") from None
    return [found[str(place)] for place in range(len(found))]


def check_room(folder: Path, need: int) -> None:
    """Raise unless this many bytes are free on the disk.

    Raises:
        UserError: The disk has less free space.
    """
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    free = shutil.disk_usage(place).free
    if need > free:
        raise UserError(
            f"the disk of {folder} has {free / GIB:.2f} GiB free, and the activations need "
            f"{need / GIB:.2f} GiB: free some space, choose another folder, lower the limit with "
            "Cache(gib=...), or store no activations with distil(streamed=True)"
        )
