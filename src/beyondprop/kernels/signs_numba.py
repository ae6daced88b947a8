"""Signs, and sums with them, as fused loops compiled by numba; see `kernels.signs`."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numba
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from beyondprop.kernels.signs import BLOCK
from beyondprop.random import keys

SHARE = 2**20
"""Minimum number of signs per thread."""

GOLDEN, FIRST, SECOND = (np.uint64(n) for n in (keys.GOLDEN, keys.FIRST, keys.SECOND))
BYTE = np.uint64(255)


def signs(base: int, outputs: range, inputs: range, like: Tensor) -> Tensor:
    """See `signs.signs`."""
    first, groups = inputs.start // 64, -(-inputs.stop // 64) - inputs.start // 64
    found = torch.empty(len(outputs), 64 * groups, dtype=like.dtype)
    rows, one = found.numpy(), found.numpy().dtype.type(1)
    root = np.uint64(base)
    share_out(
        lambda a, b: fill(root, outputs.start + a, first, one, rows[a:b]),
        len(outputs),
        found.numel(),
    )
    return found[:, : len(inputs)]


def signed_sums(base: int, x: Tensor, width: int, transposed: bool = False) -> Tensor:
    """See `signs.signed_sums`; only over inputs."""
    assert not transposed
    padded = F.pad(x.detach(), (0, -x.shape[1] % 64)).contiguous()
    found = torch.zeros(len(x), width, dtype=x.dtype)
    rows, sums, root = padded.numpy(), found.numpy(), np.uint64(base)
    share_out(lambda a, b: add(root, a, rows, sums[:, a:b]), width, x.shape[1] * width)
    return found


def share_out(work: Callable[[int, int], None], count: int, size: int) -> None:
    """Split large work over the number of PyTorch's threads."""
    shares = max(1, min(torch.get_num_threads(), size // SHARE, count))
    if shares == 1:
        work(0, count)
        return
    edges = [count * i // shares for i in range(shares + 1)]
    threads = pool(os.getpid(), torch.get_num_threads())
    list(threads.map(work, edges[:-1], edges[1:]))


@cache
def pool(process: int, count: int) -> ThreadPoolExecutor:  # noqa: ARG001
    """Return threads for large work; numba's own would compete with PyTorch's.

    Args:
        process: The process, part of the key because a forked process has no threads.
        count: Number of threads.
    """
    return ThreadPoolExecutor(count, "beyondprop-projections")


@numba.njit(inline="always")
def spread(z):  # type: ignore[no-untyped-def]
    """See `keys.spread`; uint64."""
    z = z + GOLDEN
    z = (z ^ z >> np.uint64(30)) * FIRST
    z = (z ^ z >> np.uint64(27)) * SECOND
    return z ^ z >> np.uint64(31)


@numba.njit(nogil=True, cache=True)
def fill(root, first_output, first_group, one, rows):  # type: ignore[no-untyped-def]
    """Write the signs of outputs, (n, 64 m), starting at a group of 64 inputs."""
    for j in range(rows.shape[0]):
        key = spread(root ^ np.uint64(first_output + j))
        row = rows[j]
        for g in range(row.size // 64):
            word = spread(key + np.uint64(first_group + g) * GOLDEN)
            for b in range(64):
                row[64 * g + b] = one if word >> np.uint64(b) & np.uint64(1) else -one


@numba.njit(nogil=True, cache=True)
def tabulate(x, table):  # type: ignore[no-untyped-def]
    """Write the sum of eight of 64 inputs with the signs of each byte's bits, (8, 256)."""
    for p in range(8):
        table[p, 0] = 0
        for b in range(8):
            number = x[8 * p + b]
            for k in range(1 << b):
                before = table[p, k]
                table[p, (1 << b) + k] = before + number
                table[p, k] = before - number


@numba.njit(nogil=True, cache=True)
def look_up(words, t, sums):  # type: ignore[no-untyped-def]
    """Add to each output the sum of 64 inputs with its word's signs: eight look-ups, not 64
    products."""
    for j in range(words.size):
        w = words[j]
        low = (t[0, w & BYTE] + t[1, w >> np.uint64(8) & BYTE]) + (
            t[2, w >> np.uint64(16) & BYTE] + t[3, w >> np.uint64(24) & BYTE]
        )
        high = (t[4, w >> np.uint64(32) & BYTE] + t[5, w >> np.uint64(40) & BYTE]) + (
            t[6, w >> np.uint64(48) & BYTE] + t[7, w >> np.uint64(56)]
        )
        sums[j] += low + high


@numba.njit(nogil=True, cache=True)
def draw(output_keys, group, words):  # type: ignore[no-untyped-def]
    """Write a word for each output; the compiler vectorises the loop."""
    place = np.uint64(group) * GOLDEN
    for j in range(words.size):
        words[j] = spread(output_keys[j] + place)


@numba.njit(nogil=True, cache=True)
def add(root, first_output, x, sums):  # type: ignore[no-untyped-def]
    """Add the inputs, (rows, 64 m), times their signs to each output, (rows, n)."""
    output_keys, words = np.empty(BLOCK, np.uint64), np.empty(BLOCK, np.uint64)
    table = np.empty((8, 256), x.dtype)
    for start in range(0, sums.shape[1], BLOCK):
        stop = min(start + BLOCK, sums.shape[1])
        for j in range(stop - start):
            output_keys[j] = spread(root ^ np.uint64(first_output + start + j))
        for group in range(x.shape[1] // 64):
            draw(output_keys, group, words[: stop - start])
            for row in range(x.shape[0]):
                tabulate(x[row, 64 * group : 64 * group + 64], table)
                look_up(words[: stop - start], table, sums[row, start:stop])
