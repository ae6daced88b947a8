"""A model's state dict in one safetensors file: its tensors, and other entries as JSON."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from beyondprop.errors import UserError
from beyondprop.files import StorageError, cannot

WEIGHTS = "weights.safetensors"
EXTRA = "extra_state"
"""Key in the file's metadata for the entries that are not tensors, as one JSON object. Several
keys would be written in random order, so that the bytes of the file would vary."""


def weights(model: nn.Module) -> bytes:
    """Return the model's state dict as safetensors; tied tensors are written once for each name.

    Raises:
        UserError: See `check_weights`.
    """
    check_weights(model)
    state: dict[str, Any] = model.state_dict()
    tensors = {
        key: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for key, value in state.items()
        if isinstance(value, Tensor)
    }
    extra = {key: value for key, value in state.items() if key not in tensors}
    content: bytes = safetensors.torch.save(tensors, {EXTRA: json.dumps(extra)} if extra else None)
    return content


def read_weights(path: Path, sha256: str | None = None) -> dict[str, Any]:
    """Return the state dict in a run's `weights.safetensors`, for a model's `load_state_dict`.

    Args:
        path: The file.
        sha256: The file's digest in a record, if there is one.

    Raises:
        StorageError: The file cannot be read, is not a weights file, or is not that of the record.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise cannot("read", path, error) from None
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise StorageError(
            f"{path} is not what was written there: delete {path.parent} and run again"
        )
    try:
        size = int.from_bytes(content[:8], "little")
        tensors: dict[str, Any] = safetensors.torch.load(content)
        metadata = json.loads(content[8 : 8 + size]).get("__metadata__") or {}
        extra: dict[str, Any] = json.loads(metadata.get(EXTRA, "{}"))
        return tensors | extra
    except (safetensors.SafetensorError, TypeError, ValueError, RecursionError):
        raise StorageError(f"{path} is damaged, or not the weights of a run") from None


def check_weights(model: nn.Module) -> None:
    """Raise if a model's state cannot be stored; called before training.

    Raises:
        UserError: An entry of its state dict is neither a dense tensor of ordinary numbers nor
            JSON.
    """
    for key, value in model.state_dict().items():
        if isinstance(value, Tensor):
            _check_tensor(key, value)
        elif not _is_json(value):
            raise UserError(
                f"{key!r} in the model's state_dict is a {type(value).__name__} that a weights "
                "file cannot store: use a tensor, or a value that JSON keeps unchanged (numbers, "
                "text, lists, dictionaries of these)"
            )


def _check_tensor(key: str, value: Tensor) -> None:
    kept = value.layout is torch.strided and not value.is_nested and not value.is_meta
    try:
        safetensors.torch.save({"": torch.empty(0, dtype=value.dtype)})
    except (KeyError, RuntimeError):  # safetensors does not support all of PyTorch's types
        kept = False
    if not kept:
        raise UserError(
            f"{key!r} in the model's state_dict is a tensor that a weights file cannot store "
            f"({value.dtype}, {value.layout}, on {value.device}): make it a dense one of ordinary "
            "numbers, or leave it out of the state (register_buffer(..., persistent=False))"
        )


def _is_json(value: object) -> bool:
    try:
        back = json.loads(json.dumps(value))
    except (TypeError, ValueError, RecursionError):
        return False
    return repr(back) == repr(value)  # JSON changes tuples and keys that are numbers
