"""Batches that are done in parts, so that what is made of a part stays in the cache."""

import sys
from collections.abc import Callable

import torch
from torch import Tensor

CACHE = 2**20
"""How many bytes of input a part has on the CPU; some cores' second cache has as many."""


def by_parts(carry: Callable[[Tensor], Tensor], rows: Tensor, width: int, least: int = 1) -> Tensor:
    """Return what a function makes of rows, which do not meet in it, some of them at a time.

    Args:
        carry: Rows to rows.
        rows: Of shape ``(rows, ...)``.
        width: How many float32 numbers a row is while it is worked on.
        least: How many rows a part has at the least.
    """
    parts = [carry(part) for part in rows.split(rows_at_a_time(width, rows.device, least))]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def rows_at_a_time(width: int, device: torch.device, least: int = 1) -> int:
    """Return how many rows a part has at the most: on a GPU there is no need of parts."""
    return max(least, CACHE // (4 * width)) if device.type == "cpu" else sys.maxsize
