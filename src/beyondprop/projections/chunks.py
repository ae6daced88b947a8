"""Projections process a batch in chunks that stay in the CPU cache, and in full precision."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

CACHE = 2**20
"""Bytes of input in a chunk on the CPU, the size of some cores' second-level cache."""


def in_chunks(
    carry: Callable[[Tensor], Tensor], rows: Tensor, width: int, least: int = 1
) -> Tensor:
    """Return a function's result for rows, computed chunk by chunk.

    Args:
        carry: Maps rows to rows, each independently of the others.
        rows: The rows, of shape ``(rows, ...)``.
        width: The number of float32 values of a row during the computation.
        least: The minimum number of rows in a chunk.
    """
    chunks = rows.split(rows_at_a_time(width, rows.device, least))
    if len(chunks) == 1:
        return carry(rows)
    if torch.is_grad_enabled() and rows.requires_grad:
        return torch.cat([carry(chunk) for chunk in chunks])
    return _written(carry, chunks, len(rows))


def _written(carry: Callable[[Tensor], Tensor], chunks: tuple[Tensor, ...], count: int) -> Tensor:
    """Return a function's results for chunks, each written while it is in the cache."""
    first, *others = chunks
    made, done = carry(first), len(first)
    found = made.new_empty(count, *made.shape[1:])
    found[:done] = made
    for chunk in others:
        found[done : done + len(chunk)] = carry(chunk)
        done += len(chunk)
    return found


def rows_at_a_time(width: int, device: torch.device, least: int = 1) -> int:
    """Return the maximum number of rows in a chunk; a GPU needs no chunks."""
    return max(least, CACHE // (4 * width)) if device.type == "cpu" else sys.maxsize


def unlowered(x: Tensor) -> AbstractContextManager[object]:
    """Return a context in which autocast does not lower the precision of results of ``x``."""
    kind = x.device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        return torch.autocast(kind, enabled=False)
    return nullcontext()  # which takes no time, unlike autocast
