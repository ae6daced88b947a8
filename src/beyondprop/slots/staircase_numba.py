"""The staircase as one fused loop over weights, compiled by numba."""

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from beyondprop.slots import generator
from beyondprop.slots.source import Source
from beyondprop.slots.staircase import Staircase

BLOCK = 1024
"""How many weights are done at a time; what is kept for them stays in the first cache."""

SHARE = 2**16
"""The fewest weights that are worth a thread of their own."""


@cache
def pool() -> ThreadPoolExecutor:
    """Return threads for large tensors, beside the one that asks.

    Numba's own would spin against PyTorch's: both wait for work by turning, and a step of a small
    network took ten times as long.
    """
    return ThreadPoolExecutor(None, "beyondprop-slots")


class FusedStaircase(Staircase):
    """Draws and compares the K lines of all weights in one pass that reads ``a`` and writes
    weights.

    It keeps nothing. Numbers other than float32 and float64, and other devices than the CPU, go the
    way of plain PyTorch.
    """

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._constants = constants(source)

    @torch.no_grad()
    def write(self, at: Tensor, kept: float, weights: Tensor) -> None:
        """Write for each weight the slope of its highest line; see `Staircase.write`."""
        fused = at.dtype in (torch.float32, torch.float64) and weights.dtype is at.dtype
        if not (fused and weights.is_cpu and weights.is_contiguous() and at.is_contiguous()):
            super().write(at, kept, weights)
            return
        self._edges = None  # of numbers that go by here, plain PyTorch would know nothing
        numbers, flat = at.view(-1).numpy(), weights.detach().view(-1).numpy()
        given = (numbers.dtype.type(kept), flat, *self._constants)
        shares = max(1, min(torch.get_num_threads(), len(flat) // SHARE))
        step = -(-len(flat) // shares)
        others = [
            pool().submit(fill, numbers, start, min(start + step, len(flat)), *given)
            for start in range(step, len(flat), step)
        ]
        fill(numbers, 0, min(step, len(flat)), *given)
        for other in others:
            other.result()
        torch.autograd.graph.increment_version(weights)  # NumPy wrote past autograd's count


def constants(source: Source) -> tuple[Any, ...]:
    """Return the keys and the scales that a kernel needs."""
    seed, stream = source.seed, source.stream
    keys = np.array(
        [generator.slot_key(seed, stream, k) for k in range(source.planes)], dtype=np.uint32
    )
    value = np.float32(source.deviation * 2.0**-23)
    score = np.float32(source.height * 2.0**-24)
    return np.uint32(generator.place_key(seed, stream)), keys, value, score


@numba.njit(inline="always")
def mix(x):  # type: ignore[no-untyped-def]
    """See `generator.mix`; every step is cast back to 32 bits, as numba widens them."""
    x = np.uint32(x ^ np.uint32(x >> np.uint32(16)))
    x = np.uint32(x * np.uint32(generator.FIRST))
    x = np.uint32(x ^ np.uint32(x >> np.uint32(15)))
    x = np.uint32(x * np.uint32(generator.SECOND))
    return np.uint32(x ^ np.uint32(x >> np.uint32(16)))


@numba.njit(inline="always")
def second(x):  # type: ignore[no-untyped-def]
    """See `generator.second`; uint32."""
    return np.uint32(np.uint32(x ^ np.uint32(x >> np.uint32(15))) * np.uint32(generator.GOLDEN))


@numba.njit(inline="always")
def slope_of(word, value):  # type: ignore[no-untyped-def]
    """See `generator.symmetric`, with 2^23 taken off by turning the highest bit of the word."""
    turned = np.uint32(np.uint32(word ^ np.uint32(0x80000000)) | np.uint32(0x100))
    return np.float32(np.int32(np.int32(turned) >> np.int32(8))) * value


@numba.njit(inline="always")
def height_of(word, score):  # type: ignore[no-untyped-def]
    """See `generator.positive`, of the word's second."""
    return np.float32(np.int32(np.int32(second(word) >> np.uint32(8)) | np.int32(1))) * score


@numba.njit(error_model="numpy", cache=True)
def fill_block(  # type: ignore[no-untyped-def]
    at, start, stop, kept, weights, place_key, keys, value, score, mixed, top
):
    """Write the weights from ``start`` on; by itself the compiler makes it vector instructions.

    Two slots are done at a time, to fetch and store what is kept half as often; of an odd number
    the last one is done twice.
    """
    size = stop - start
    here, slope = at[start:stop], weights[start:stop]
    for i in range(size):
        mixed[i] = mix(np.uint32(np.uint32(start + i) ^ place_key))
    for k in range(0, keys.size, 2):
        one, other = keys[k], keys[min(k + 1, keys.size - 1)]
        for i in range(size):
            word = mix(np.uint32(mixed[i] + one))
            w = slope_of(word, value)
            line = kept * height_of(word, score) + w * here[i]
            before, kept_slope = top[i], slope[i]
            higher = line > before or k == 0  # so that NaN, too, gives one of the values
            before = line if higher else before
            kept_slope = w if higher else kept_slope
            word = mix(np.uint32(mixed[i] + other))
            w = slope_of(word, value)
            line = kept * height_of(word, score) + w * here[i]
            higher = line > before
            top[i] = line if higher else before
            slope[i] = w if higher else kept_slope


@numba.njit(nogil=True, cache=True)
def fill(at, start, stop, kept, weights, place_key, keys, value, score):  # type: ignore[no-untyped-def]
    """Write for each weight from ``start`` to ``stop`` the slope of its highest line."""
    mixed = np.empty(BLOCK, np.uint32)
    top = np.empty(BLOCK, at.dtype)
    for first in range(start, stop, BLOCK):
        last = min(first + BLOCK, stop)
        fill_block(at, first, last, kept, weights, place_key, keys, value, score, mixed, top)
