"""How projections work on a batch: in chunks that stay in the cache, and in full precision."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

CACHE = 2**20
"""How many bytes of input a chunk has on the CPU; some cores' second cache has as many."""


def in_chunks(
    carry: Callable[[Tensor], Tensor], rows: Tensor, width: int, least: int = 1
) -> Tensor:
    """Return what a function makes of rows, which do not meet in it, some of them at a time.

    Args:
        carry: Rows to rows.
        rows: Of shape ``(rows, ...)``.
        width: How many float32 numbers a row is while it is worked on.
        least: How many rows a chunk has at the least.
    """
    chunks = rows.split(rows_at_a_time(width, rows.device, least))
    if len(chunks) == 1:
        return carry(rows)
    if torch.is_grad_enabled() and rows.requires_grad:
        return torch.cat([carry(chunk) for chunk in chunks])
    return _written(carry, chunks, len(rows))


def _written(carry: Callable[[Tensor], Tensor], chunks: tuple[Tensor, ...], count: int) -> Tensor:
    """Return what a function makes of chunks, each written while it is in the cache."""
    first, *others = chunks
    made, done = carry(first), len(first)
    found = made.new_empty(count, *made.shape[1:])
    found[:done] = made
    for chunk in others:
        found[done : done + len(chunk)] = carry(chunk)
        done += len(chunk)
    return found


def rows_at_a_time(width: int, device: torch.device, least: int = 1) -> int:
    """Return how many rows a chunk has at the most: on a GPU chunks are not needed."""
    return max(least, CACHE // (4 * width)) if device.type == "cpu" else sys.maxsize


def unlowered(x: Tensor) -> AbstractContextManager[object]:
    """Return a context in which autocast does not round what is made of ``x``."""
    kind = x.device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        return torch.autocast(kind, enabled=False)
    return nullcontext()  # which takes no time, unlike autocast
