"""The content of digests: the bytes of tensors, and everything that identifies a model."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import torch
from torch import Tensor, nn

from beyondprop._torch.weights import weights

ADDRESS = re.compile(r" at 0x[0-9a-f]+")
"""The address in a printed object, which differs between processes."""
PLAIN = (str, int, float, complex, type(None), torch.dtype)


def content(x: Tensor) -> bytes:
    """Return a tensor's numbers as bytes."""
    return x.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def digest_of_model(model: nn.Module) -> str:
    """Return the SHA-256 of a model's weights, buffers, printed modules and their plain values.

    Functions among the values count by name. The code of `forward` is not included.
    """
    found = hashlib.sha256(weights(model))
    found.update(ADDRESS.sub("", repr(model)).encode())
    for name, buffer in model.named_buffers():  # including buffers outside the state dict
        found.update(f"{name} {buffer.dtype} {tuple(buffer.shape)}".encode() + content(buffer))
    for name, module in model.named_modules():
        kept = ((key, told(value)) for key, value in vars(module).items() if key[0] != "_")
        found.update(f"{name} {sorted((key, text) for key, text in kept if text)}".encode())
    return found.hexdigest()


def told(value: Any) -> str:
    """Return a plain value or a function as text; an empty text for anything else."""
    if isinstance(value, PLAIN):
        return repr(value)
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(told, value))}]"
    if callable(value) and not isinstance(value, nn.Module) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    return ""
