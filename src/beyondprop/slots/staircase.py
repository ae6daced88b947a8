"""The highest of K random lines for each weight, whose slope a slot machine chooses at ``a``."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from beyondprop.kernels.highest_lines import CHUNK, HIGHEST_LINES, Lines, highest
from beyondprop.kernels.registry import compiler_for
from beyondprop.random import slot_words
from beyondprop.slots.source import Source
from beyondprop.slots.values import GlorotUniform, KaimingUniform, PerConnection, WideGlorotUniform

UNIFORM = (GlorotUniform, WideGlorotUniform, KaimingUniform)
"""Values that the fused staircase can draw."""


class Staircase(ABC):
    """Sets each weight of one tensor to the slope of its highest line."""

    source: Source

    @abstractmethod
    def write(self, at: Tensor, kept: float, weights: Tensor) -> None:
        """Write for each weight the slope of its highest line.

        Args:
            at: ``a``, with the weights' shape.
            kept: ``c``.
            weights: The weights, which are overwritten.
        """

    @abstractmethod
    def forget(self) -> None:
        """Forget cached state, after the numbers or the weights were changed elsewhere."""


class PlainStaircase(Staircase):
    """The staircase of one tensor's weights in plain PyTorch, on any device.

    While a weight's number is between the two edges of its current step, its value does not change;
    the K lines are drawn and compared again only for weights that may have crossed an edge. The
    edges are stored as two numbers per weight, slightly inside the true ones, so that rounding
    cannot hide a crossing.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self._edges: tuple[Tensor, Tensor] | None = None

    def forget(self) -> None:
        """Start again; see `Staircase.forget`."""
        self._edges = None

    @torch.no_grad()
    def write(self, at: Tensor, kept: float, weights: Tensor) -> None:
        """Write for each weight the slope of its highest line; see `Staircase.write`."""
        numbers = at.reshape(-1)
        scale = kept
        if self._edges is None or not kept > 0:
            scale = 1.0  # infinity times zero or less would not be an edge beyond all numbers
            self._edges = (
                torch.full_like(numbers, torch.inf),
                torch.full_like(numbers, -torch.inf),
            )
        low, high = self._edges
        scaled = (low, high) if scale == 1 else (low * scale, high * scale)
        still = (numbers >= scaled[0]) & (numbers <= scaled[1])  # false for NaN
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
        """Return the slopes and the heights at 0 of K lines, each (K, n), for weights by index."""
        source = self.source
        if not isinstance(source.sharing, PerConnection):
            return source.values_at(places, like), source.scores_at(places, like)
        slots = torch.arange(source.planes, device=places.device).unsqueeze(1)  # (K, 1)
        # Values and scores come from the same words, which are drawn for all slots together.
        mixed = slot_words.mixed_places(places, source.seed, source.stream)
        words = slot_words.words(mixed, source.seed, source.stream, slots)
        slopes = source.values.draw(words, source.deviation)
        draw = slot_words.symmetric if source.centred else slot_words.positive
        heights = draw(slot_words.second(words), source.height)
        return slopes.to(like.dtype), heights.to(like.dtype)


def edges(slopes: Tensor, heights: Tensor, slot: Tensor) -> tuple[Tensor, Tensor]:
    """Return the numbers between which a line is certain to be the highest, each (n,).

    A steeper line overtakes it at ``(s_k - s_j) / (W_j - W_k)`` to the right, a flatter one to the
    left. Both edges are moved inwards by more than rounding can shift the crossing of two lines, so
    that near a crossing the comparison of the lines decides, not the edge.
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


class FusedStaircase(Staircase):
    """Draws and compares the K lines of all weights in one pass of a compiled kernel.

    It stores nothing. Inputs that no compiled kernel supports use plain PyTorch.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self._lines = Lines(
            source.seed, source.stream, source.planes, source.deviation, source.height
        )
        self._plain = PlainStaircase(source)

    @torch.no_grad()
    def write(self, at: Tensor, kept: float, weights: Tensor) -> None:
        """Write for each weight the slope of its highest line; see `Staircase.write`."""
        compiler = compiler_for(at) if weights.dtype is at.dtype else ""
        if not compiler or weights.device != at.device:
            self._plain.write(at, kept, weights)
            return
        self._plain.forget()  # it does not see the numbers used here
        flat = weights if weights.is_contiguous() else torch.empty_like(at.contiguous())
        HIGHEST_LINES.form(compiler)(at.contiguous(), kept, flat, self._lines)
        if flat is weights:  # compiled kernels bypass autograd's version counter
            torch.autograd.graph.increment_version(weights)
        else:
            weights.copy_(flat)

    def forget(self) -> None:
        """Start again; see `Staircase.forget`."""
        self._plain.forget()


def make(source: Source) -> Staircase:
    """Return the fastest staircase that supports these weights."""
    uniform = isinstance(source.values, UNIFORM) and not source.centred
    if uniform and isinstance(source.sharing, PerConnection):
        return FusedStaircase(source)
    return PlainStaircase(source)
