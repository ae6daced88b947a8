"""The staircase as one fused kernel for GPUs, compiled by Triton."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from beyondprop.slots import generator
from beyondprop.slots.source import Source
from beyondprop.slots.staircase import Staircase

BLOCK = 1024
"""How many weights a program does."""

FIRST, SECOND = tl.constexpr(generator.FIRST), tl.constexpr(generator.SECOND)
GOLDEN = tl.constexpr(generator.GOLDEN)


class FusedStaircase(Staircase):
    """Draws and compares the K lines of all weights in one pass that reads ``a`` and writes
    weights.

    It keeps nothing but the slots' keys. Numbers other than float32 and float64 go the way of plain
    PyTorch.
    """

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._words: Tensor | None = None

    @torch.no_grad()
    def write(self, at: Tensor, kept: float, weights: Tensor) -> None:
        """Write for each weight the slope of its highest line; see `Staircase.write`."""
        if at.dtype not in (torch.float32, torch.float64) or weights.dtype is not at.dtype:
            super().write(at, kept, weights)
            return
        if self._words is None or self._words.device != at.device:
            self._words = keys(self.source, at.device)
        self._edges = None  # of numbers that go by here, plain PyTorch would know nothing
        numbers = at.contiguous()
        flat = weights if weights.is_contiguous() else torch.empty_like(numbers)
        fill[(triton.cdiv(at.numel(), BLOCK),)](
            numbers,
            at.new_full((), kept),  # not a number, which Triton would round to float32
            flat,
            self._words,
            generator.float32(self.source.deviation * 2.0**-23),
            generator.float32(self.source.height * 2.0**-24),
            at.numel(),
            self.source.planes,
            BLOCK,
            enable_fp_fusion=False,  # a fused product and sum is rounded once, not twice
        )
        if flat is weights:
            torch.autograd.graph.increment_version(weights)  # Triton wrote past autograd's count
        else:
            weights.copy_(flat)


def keys(source: Source, device: torch.device) -> Tensor:
    """Return the places' key and those of the slots, (1 + K,) int64."""
    seed, stream = source.seed, source.stream
    slots = [generator.slot_key(seed, stream, k) for k in range(source.planes)]
    return torch.tensor([generator.place_key(seed, stream), *slots], device=device)


@triton.jit
def mix(x):  # type: ignore[no-untyped-def]
    """See `generator.mix`; uint32."""
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
    """Write for each weight the slope of its highest line."""
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
