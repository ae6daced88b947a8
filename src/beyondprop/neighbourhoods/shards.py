"""Activations on disk: files of safetensors, and how many of them fit."""

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
        folder: Of the neighbourhood.
        number: Of the shard.
        tensors: ``(samples, ...)`` each.

    Raises:
        UserError: The disk is too full for it.
        StorageError: It cannot be written.
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
        StorageError: The file is missing, or not what was written.
    """
    path = path_of(folder, number)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise cannot("read", path, error) from None
    if hashlib.sha256(content).hexdigest() != digest:
        raise StorageError(
            f"{path} is not what was written there: delete {folder}, and its activations are "
            "captured again"
        )
    try:
        found = safetensors.torch.load(content)
    except safetensors.SafetensorError:  # its digest is right, so it was written by other means
        raise StorageError(f"{path} is not a safetensors file: delete {folder}") from None
    return [found[str(place)] for place in range(len(found))]


def check_room(folder: Path, need: int) -> None:
    """See that so many bytes fit on the disk.

    Raises:
        UserError: They do not.
    """
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    free = shutil.disk_usage(place).free
    if need > free:
        raise UserError(
            f"the disk of {folder} has {free / GIB:.2f} GiB free, and the activations need "
            f"{need / GIB:.2f} more: free some, choose another folder, lower the limit by "
            "Cache(gib=...), or store none by distil(streamed=True)"
        )
