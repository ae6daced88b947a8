"""The slope of the highest of K random lines per weight at a number, for slot machines.

The lines are drawn from `beyondprop.random.slot_words`: a slope uniform in (-deviation, deviation)
and a height at 0 uniform in (0, height), for each weight and slot.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from beyondprop.kernels.registry import Operation
from beyondprop.random import slot_words

CHUNK = 2**13
"""Number of weights that are evaluated together, so that K values per weight fit in the cache."""


@dataclass(frozen=True)
class Lines:
    """The lines of one tensor's weights.

    Attributes:
        seed: The network's seed.
        stream: The tensor's stream.
        planes: K.
        deviation: Slopes are uniform in (-deviation, deviation).
        height: Heights at 0 are uniform in (0, height).
    """

    seed: int
    stream: int
    planes: int
    deviation: float
    height: float


@torch.no_grad()
def plain_highest_lines(at: Tensor, kept: float, weights: Tensor, lines: Lines) -> None:
    """Write the slope of each weight's highest line.

    Args:
        at: The numbers at which lines are compared, contiguous, of the weights' shape and dtype.
        kept: Factor on the heights.
        weights: The tensor that is overwritten; contiguous.
        lines: The lines.
    """
    numbers, flat = at.view(-1), weights.view(-1)
    seed, stream = lines.seed, lines.stream
    slots = torch.arange(lines.planes, device=flat.device).unsqueeze(1)  # (K, 1)
    for places in torch.arange(flat.numel(), device=flat.device).split(CHUNK):
        mixed = slot_words.mixed_places(places, seed, stream)
        words = slot_words.words(mixed, seed, stream, slots)  # (K, n)
        slopes = slot_words.symmetric(words, lines.deviation)
        heights = slot_words.positive(slot_words.second(words), lines.height)
        slopes, heights = slopes.to(flat.dtype), heights.to(flat.dtype)
        flat[places] = highest(slopes, heights, numbers[places], kept)[1]


def highest(slopes: Tensor, heights: Tensor, at: Tensor, kept: float) -> tuple[Tensor, Tensor]:
    """Return the index of the highest of K lines, int64 (n,), and its slope (n,).

    Of equal lines the first is returned.

    Args:
        slopes: (K, n).
        heights: (K, n), at 0.
        at: The numbers at which lines are compared, (n,).
        kept: Factor on the heights.
    """
    top = heights[0] * kept + slopes[0] * at
    slot = torch.zeros_like(at, dtype=torch.int64)
    for k in range(1, len(slopes)):
        line = heights[k] * kept + slopes[k] * at
        slot[line > top] = k
        torch.maximum(top, line, out=top)
    return slot, slopes.gather(0, slot.unsqueeze(0)).squeeze(0)


HIGHEST_LINES = Operation(
    "highest lines",
    plain_highest_lines,
    {
        "numba": "beyondprop.kernels.highest_lines_numba:highest_lines",
        "triton": "beyondprop.kernels.highest_lines_triton:highest_lines",
    },
)
