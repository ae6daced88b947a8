"""The highest lines as one fused loop over weights, compiled by numba."""

from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from beyondprop.kernels.highest_lines import Lines
from beyondprop.random import slot_words

BLOCK = 1024
"""Number of weights that are processed together; their data fits in the level-1 cache."""

SHARE = 2**16
"""Minimum number of weights per thread."""


@cache
def pool() -> ThreadPoolExecutor:
    """Return threads for large tensors, in addition to the calling one.

    Numba's own threads would compete with PyTorch's: both wait for work by spinning, and a step of
    a small network took ten times as long.
    """
    return ThreadPoolExecutor(None, "beyondprop-slots")


def highest_lines(at: Tensor, kept: float, weights: Tensor, lines: Lines) -> None:
    """See `highest_lines.plain_highest_lines`; for the CPU, in float32 and float64."""
    numbers, flat = at.view(-1).numpy(), weights.detach().view(-1).numpy()
    given = (numbers.dtype.type(kept), flat, *constants(lines))
    shares = max(1, min(torch.get_num_threads(), len(flat) // SHARE))
    step = -(-len(flat) // shares)
    others = [
        pool().submit(fill, numbers, start, min(start + step, len(flat)), *given)
        for start in range(step, len(flat), step)
    ]
    fill(numbers, 0, min(step, len(flat)), *given)
    for other in others:
        other.result()


@lru_cache(maxsize=4096)
def constants(lines: Lines) -> tuple[Any, ...]:
    """Return the keys and the scales that the loop needs."""
    seed, stream = lines.seed, lines.stream
    keys = np.array(
        [slot_words.slot_key(seed, stream, k) for k in range(lines.planes)], dtype=np.uint32
    )
    value = np.float32(lines.deviation * 2.0**-23)
    score = np.float32(lines.height * 2.0**-24)
    return np.uint32(slot_words.place_key(seed, stream)), keys, value, score


@numba.njit(inline="always")
def mix(x):  # type: ignore[no-untyped-def]
    """See `slot_words.mix`; every step is cast back to 32 bits, as numba widens them."""
    x = np.uint32(x ^ np.uint32(x >> np.uint32(16)))
    x = np.uint32(x * np.uint32(slot_words.FIRST))
    x = np.uint32(x ^ np.uint32(x >> np.uint32(15)))
    x = np.uint32(x * np.uint32(slot_words.SECOND))
    return np.uint32(x ^ np.uint32(x >> np.uint32(16)))


@numba.njit(inline="always")
def second(x):  # type: ignore[no-untyped-def]
    """See `slot_words.second`; uint32."""
    return np.uint32(np.uint32(x ^ np.uint32(x >> np.uint32(15))) * np.uint32(slot_words.GOLDEN))


@numba.njit(inline="always")
def slope_of(word, value):  # type: ignore[no-untyped-def]
    """See `slot_words.symmetric`; flipping the highest bit of the word subtracts 2^23."""
    turned = np.uint32(np.uint32(word ^ np.uint32(0x80000000)) | np.uint32(0x100))
    return np.float32(np.int32(np.int32(turned) >> np.int32(8))) * value


@numba.njit(inline="always")
def height_of(word, score):  # type: ignore[no-untyped-def]
    """See `slot_words.positive`, for the second word of a word."""
    return np.float32(np.int32(np.int32(second(word) >> np.uint32(8)) | np.int32(1))) * score


@numba.njit(error_model="numpy", cache=True)
def fill_block(  # type: ignore[no-untyped-def]
    at, start, stop, kept, weights, place_key, keys, value, score, mixed, top
):
    """Write the weights from ``start`` to ``stop``; the compiler vectorises the loop.

    It processes two slots at a time, which halves the number of loads and stores; if the number of
    slots is odd, it processes the last one twice.
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
            higher = line > before or k == 0  # so that NaN gives one of the values too
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
    """Write the slope of the highest line of each weight from ``start`` to ``stop``."""
    mixed = np.empty(BLOCK, np.uint32)
    top = np.empty(BLOCK, at.dtype)
    for first in range(start, stop, BLOCK):
        last = min(first + BLOCK, stop)
        fill_block(at, first, last, kept, weights, place_key, keys, value, score, mixed, top)
