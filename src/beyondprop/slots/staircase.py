"""The highest of K random lines, weight by weight: which value a slot machine takes at ``a``."""

import importlib.util

import torch
from torch import Tensor

from beyondprop.slots import generator
from beyondprop.slots.source import Source
from beyondprop.slots.values import GlorotUniform, KaimingUniform, PerConnection

CHUNK = 2**13
"""How many weights are evaluated at a time, to keep K numbers a weight in the cache."""


class Staircase:
    """The staircase of one tensor's weights in plain PyTorch, on any device.

    Where a weight's number lies between the two edges of the step that it stands on, its value
    stays what it is; the K lines are drawn and compared again only for weights that may have
    crossed one. The edges are kept, two numbers a weight, a little inside of the true ones, so that
    rounding cannot hide a crossing.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self._edges: tuple[Tensor, Tensor] | None = None
        self._keys: Tensor | None = None

    @torch.no_grad()
    def write(self, at: Tensor, kept: float, weights: Tensor) -> None:
        """Write for each weight the slope of its highest line.

        Args:
            at: a, of the weights' shape.
            kept: c.
            weights: What is overwritten.
        """
        numbers = at.reshape(-1)
        scale = kept
        if self._edges is None or not kept > 0:
            scale = 1.0  # infinity times zero, or less, would be no edge that all lie beyond
            self._edges = (
                torch.full_like(numbers, torch.inf),
                torch.full_like(numbers, -torch.inf),
            )
        low, high = self._edges
        scaled = (low, high) if scale == 1 else (low * scale, high * scale)
        still = (numbers >= scaled[0]) & (numbers <= scaled[1])  # NaN is not
        moved = (~still).nonzero().squeeze(1)
        if not len(moved):
            return
        flat = weights.reshape(-1)
        for places in moved.split(CHUNK):
            slopes, heights = self.lines(places, numbers)
            slot, slope = highest(slopes, heights, numbers[places], kept)
            flat[places] = slope
            low[places], high[places] = edges(slopes, heights, slot)
        if flat.data_ptr() != weights.data_ptr():
            weights.copy_(flat.view(weights.shape))

    def lines(self, places: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return the slopes and the heights at 0 of K lines, each (K, n), for weights at places."""
        source = self.source
        if not isinstance(source.sharing, PerConnection):
            return source.values_at(places, like), source.scores_at(places, like)
        if self._keys is None or self._keys.device != places.device:
            keys = [generator.slot_key(source.seed, source.stream, k) for k in range(source.planes)]
            self._keys = torch.tensor(keys, device=places.device).unsqueeze(1)
        # Values and scores are made of the same words, and those of all slots at once.
        mixed = generator.mixed_places(places, source.seed, source.stream)
        words = generator.mix(mixed + self._keys & generator.WORD)
        slopes = source.values.draw(words, source.deviation)
        draw = generator.symmetric if source.centred else generator.positive
        heights = draw(generator.second(words), source.height)
        return slopes.to(like.dtype), heights.to(like.dtype)


def highest(slopes: Tensor, heights: Tensor, at: Tensor, kept: float) -> tuple[Tensor, Tensor]:
    """Return which of K lines is the highest, int64 (n,), and its slope (n,); of equals the first.

    Args:
        slopes: (K, n).
        heights: (K, n), at 0.
        at: Where, (n,).
        kept: What heights are multiplied by.
    """
    top = heights[0] * kept + slopes[0] * at
    slot = torch.zeros_like(at, dtype=torch.int64)
    for k in range(1, len(slopes)):
        line = heights[k] * kept + slopes[k] * at
        slot[line > top] = k
        torch.maximum(top, line, out=top)
    return slot, slopes.gather(0, slot.unsqueeze(0)).squeeze(0)


def edges(slopes: Tensor, heights: Tensor, slot: Tensor) -> tuple[Tensor, Tensor]:
    """Return between which numbers a line is surely the highest, each (n,).

    A steeper line overtakes it at ``(s_k - s_j) / (W_j - W_k)`` to the right, a flatter one so to
    the left. Both edges are drawn in by more than rounding can shift the crossing of two lines: the
    comparison of lines near it, not the edge, then decides.
    """
    slope, height = (t.gather(0, slot.unsqueeze(0)) for t in (slopes, heights))
    rise = slopes - slope
    crossing = (height - heights) / rise
    size = height + heights.abs() + (slope.abs() + slopes.abs()) * crossing.abs()
    margin = 16 * torch.finfo(slopes.dtype).eps * size / rise.abs()
    high = torch.where(rise > 0, crossing - margin, torch.inf).nan_to_num(
        nan=-torch.inf, posinf=torch.inf
    )
    low = torch.where(rise < 0, crossing + margin, -torch.inf).nan_to_num(
        nan=torch.inf, neginf=-torch.inf
    )
    return low.amax(0), high.amin(0)


class AnyDevice(Staircase):
    """The fastest staircase there is for the device that the numbers lie on.

    It begins anew where the device changes.
    """

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._device = ""
        self._steps = Staircase(source)

    def write(self, at: Tensor, kept: float, weights: Tensor) -> None:
        """Write for each weight the slope of its highest line; see `Staircase.write`."""
        if at.device.type != self._device:
            self._device = at.device.type
            self._steps = fastest(self._device)(self.source)
        self._steps.write(at, kept, weights)


def fastest(device: str) -> type[Staircase]:
    """Return the fastest staircase for a type of device, by what is installed."""
    if device == "cpu" and _has("numba"):
        from beyondprop.slots import staircase_numba

        return staircase_numba.FusedStaircase
    if device == "cuda" and _has("triton"):
        from beyondprop.slots import staircase_triton

        return staircase_triton.FusedStaircase
    return Staircase


def make(source: Source) -> Staircase:
    """Return the fastest staircase there is for these weights."""
    uniform = isinstance(source.values, (GlorotUniform, KaimingUniform)) and not source.centred
    if uniform and isinstance(source.sharing, PerConnection):
        return AnyDevice(source)
    return Staircase(source)


def _has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
