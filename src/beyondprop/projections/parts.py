"""How projections work on a batch: in parts that stay in the cache, and in full precision."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

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
    parts = rows.split(rows_at_a_time(width, rows.device, least))
    if len(parts) == 1:
        return carry(rows)
    if torch.is_grad_enabled() and rows.requires_grad:
        return torch.cat([carry(part) for part in parts])
    return _written(carry, parts, len(rows))


def _written(carry: Callable[[Tensor], Tensor], parts: tuple[Tensor, ...], count: int) -> Tensor:
    """Return what a function makes of parts, each written to its place while it is in the cache."""
    first, *others = parts
    made, done = carry(first), len(first)
    found = made.new_empty(count, *made.shape[1:])
    found[:done] = made
    for part in others:
        found[done : done + len(part)] = carry(part)
        done += len(part)
    return found


def rows_at_a_time(width: int, device: torch.device, least: int = 1) -> int:
    """Return how many rows a part has at the most: on a GPU there is no need of parts."""
    return max(least, CACHE // (4 * width)) if device.type == "cpu" else sys.maxsize


def unlowered(x: Tensor) -> AbstractContextManager[object]:
    """Return a context in which autocast does not round what is made of ``x``."""
    kind = x.device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        return torch.autocast(kind, enabled=False)
    return nullcontext()  # which takes no time, unlike autocast
