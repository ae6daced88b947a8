"""Masks among real numbers."""

from __future__ import annotations

import torch
from torch import Tensor


def is_added_mask(x: Tensor) -> bool:
    """Whether real numbers are a mask that is added, as before a softmax.

    They hold infinity or the largest number of their dtype, which attention adds where it must not
    look, and which no other dtype has.
    """
    return x.is_floating_point() and bool((x.abs() >= torch.finfo(x.dtype).max).any())
