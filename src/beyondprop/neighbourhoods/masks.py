"""Masks of floating-point numbers."""

from __future__ import annotations

import torch
from torch import Tensor


def is_added_mask(x: Tensor) -> bool:
    """Whether floating-point numbers are an additive mask, such as one before a softmax.

    Such a mask contains infinity or the largest number of its dtype, which attention adds at masked
    positions.
    """
    return x.is_floating_point() and bool((x.abs() >= torch.finfo(x.dtype).max).any())
