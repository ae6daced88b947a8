"""The highest lines as one fused kernel for GPUs, compiled by Triton."""

from functools import lru_cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from beyondprop.kernels.highest_lines import Lines
from beyondprop.random import slot_words

BLOCK = 1024
"""Number of weights per program."""

FIRST, SECOND = tl.constexpr(slot_words.FIRST), tl.constexpr(slot_words.SECOND)
GOLDEN = tl.constexpr(slot_words.GOLDEN)


def highest_lines(at: Tensor, kept: float, weights: Tensor, lines: Lines) -> None:
    """See `highest_lines.plain_highest_lines`; in float32 and float64."""
    fill[(triton.cdiv(at.numel(), BLOCK),)](
        at,
        at.new_full((), kept),  # a tensor, as Triton would round a number to float32
        weights,
        keys(lines, at.device),
        slot_words.float32(lines.deviation * 2.0**-23),
        slot_words.float32(lines.height * 2.0**-24),
        at.numel(),
        lines.planes,
        BLOCK,
        enable_fp_fusion=False,  # a fused product and sum is rounded once, not twice
    )


@lru_cache(maxsize=4096)
def keys(lines: Lines, device: torch.device) -> Tensor:
    """Return the keys of the places and of the slots, (1 + K,) int64."""
    seed, stream = lines.seed, lines.stream
    slots = [slot_words.slot_key(seed, stream, k) for k in range(lines.planes)]
    return torch.tensor([slot_words.place_key(seed, stream), *slots], device=device)


@triton.jit
def mix(x):  # type: ignore[no-untyped-def]
    """See `slot_words.mix`; uint32."""
    x = x ^ (x >> 16)
    x = x * FIRST
    x = x ^ (x >> 15)
    x = x * SECOND
    return x ^ (x >> 16)


@triton.jit
def odd(x):  # type: ignore[no-untyped-def]
    """Return the upper 24 bits of a word with the last one set, int32."""
    return (x >> 8 | 1).to(tl.int32)


@triton.jit  # type: ignore[untyped-decorator]
def fill(  # type: ignore[no-untyped-def]
    at,
    kept,
    weights,
    keys,
    value,
    score,
    size,
    planes: tl.constexpr,
    block: tl.constexpr,
):
    """Write the slope of each weight's highest line."""
    places = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = places < size
    here = tl.load(at + places, mask=inside, other=0)
    scale = tl.load(kept)
    mixed = mix(places.to(tl.uint32) ^ tl.load(keys).to(tl.uint32))
    top = here
    slope = here
    for k in range(planes):
        word = mix(mixed + tl.load(keys + 1 + k).to(tl.uint32))
        w = ((odd(word) - 8388608).to(tl.float32) * value).to(here.dtype)
        second = (word ^ (word >> 15)) * GOLDEN
        height = (odd(second).to(tl.float32) * score).to(here.dtype)
        line = height * scale + w * here
        higher = (line > top) | (k == 0)
        top = tl.where(higher, line, top)
        slope = tl.where(higher, w, slope)
    tl.store(weights + places, slope, mask=inside)
