"""The bytes of tensors, which digests are made of."""

from __future__ import annotations

import torch
from torch import Tensor


def content(x: Tensor) -> bytes:
    """Return a tensor's numbers as bytes."""
    return x.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
