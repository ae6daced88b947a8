"""A bank in a folder: a packed file for each task."""

from pathlib import Path
from urllib.parse import quote, unquote

from torch import Tensor

from beyondprop.errors import UserError
from beyondprop.slots import packed_file, packed_head
from beyondprop.slots.contents import Contents
from beyondprop.slots.machine import Machine

SUFFIX = ".safetensors"


def save(folder: Path, machine: Machine, kept: dict[str, Contents]) -> None:
    """Write ``task-NAME.safetensors`` for each task, its name as in a URL; see `Bank.save`."""
    from beyondprop.files import (
        write_bytes,
    )

    files = {task: folder / f"task-{quote(task, safe='')}{SUFFIX}" for task in kept}
    strange = [file.name for file in _files(folder) if file not in files.values()]
    if strange:
        raise UserError(f"{folder} holds {strange[0]} of another bank: choose another folder")
    if len({task.lower() for task in kept}) < len(kept):
        raise UserError("some tasks differ by capitals only, which not all disks tell apart")
    head = packed_head.write(machine)
    for task, contents in kept.items():
        write_bytes(files[task], packed_file.encode(head, contents))


def load(folder: Path, machine: Machine, free: dict[str, Tensor]) -> dict[str, Contents]:
    """Return every task of a folder, in alphabetical order; see `load_bank`.

    Args:
        folder: Where `save` wrote.
        machine: What the tasks must fit.
        free: All that is not chosen in its model.
    """
    head, kept = packed_head.write(machine), {}
    for path in _files(folder):
        file = packed_file.read(path)
        differing = [key for key in head if head[key] != file.head[key]]
        if _shapes(file.contents.free) != _shapes(free):
            differing.append("parameters that are not chosen")
        if differing:
            raise UserError(
                f"{path} is of another network, by its {', '.join(differing)}: convert the same "
                "model with the same seed and settings"
            )
        kept[unquote(path.name.removesuffix(SUFFIX).removeprefix("task-"))] = file.contents
    if not kept:
        raise UserError(f"{folder} holds no packed tasks: write them by bank.save(folder)")
    return kept


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"task-*{SUFFIX}"))


def _shapes(tensors: dict[str, Tensor]) -> dict[str, tuple[object, object]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}
