"""The fixed random numbers of one tensor of weights, drawn on demand."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from beyondprop.random import slot_words
from beyondprop.slots.values import Sharing, Values

CHUNK = 2**16
"""How many numbers are drawn at a time, so that their words stay in the CPU cache."""


@dataclass(frozen=True)
class Source:
    """The fixed values and initial scores of one tensor, which are not stored.

    Attributes:
        seed: The seed of the network.
        stream: The tensor's random stream, from its name.
        shape: The shape of the tensor.
        planes: The number of values of a weight.
        values: Their distribution.
        sharing: Which connections have the same values.
        deviation: σ.
        height: Initial scores are uniform in (0, height),
        centred: or, if true, in (-height, height).
    """

    seed: int
    stream: int
    shape: torch.Size
    planes: int
    values: Values
    sharing: Sharing
    deviation: float
    height: float
    centred: bool = False

    def places(self, like: Tensor) -> Tensor:
        """Return the indices of all weights, (n,) int64 on the device of ``like``."""
        return torch.arange(self.shape.numel(), device=like.device)

    def all_values(self, like: Tensor) -> Tensor:
        """Return every value, (planes, *shape), in the type and on the device of ``like``."""
        return self._all(self.values_at, like)

    def all_scores(self, like: Tensor) -> Tensor:
        """Return every initial score, (planes, *shape), like `all_values`."""
        return self._all(self.scores_at, like)

    def values_at(self, places: Tensor, like: Tensor) -> Tensor:
        """Return the values of the weights at indices (n,) as (planes, n)."""
        return self._values(places, self._slots(like), like).expand(self.planes, len(places))

    def value_of(self, slots: Tensor, places: Tensor, like: Tensor) -> Tensor:
        """Return one value of each weight at indices (n,): that of its slot in slots (n,)."""
        return self._values(places, slots, like)  # (n,)

    def scores_at(self, places: Tensor, like: Tensor) -> Tensor:
        """Return the initial scores of the weights at indices (n,) as (planes, n)."""
        mixed = slot_words.mixed_places(places, self.seed, self.stream)
        words = slot_words.words(mixed, self.seed, self.stream, self._slots(like))  # (planes, n)
        draw = slot_words.symmetric if self.centred else slot_words.positive
        return draw(slot_words.second(words), self.height).to(like.dtype)

    def _slots(self, like: Tensor) -> Tensor:
        return torch.arange(self.planes, device=like.device).unsqueeze(1)  # (planes, 1)

    def _values(self, places: Tensor, slots: Tensor, like: Tensor) -> Tensor:
        stream, drawn = self.sharing.drawn(self.stream, places)
        mixed = slot_words.mixed_places(drawn, self.seed, stream)
        words = slot_words.words(mixed, self.seed, stream, slots)
        return self.values.draw(words, self.deviation).to(like.dtype)

    def _all(self, at: Callable[[Tensor, Tensor], Tensor], like: Tensor) -> Tensor:
        """Draw numbers in chunks, as their words take at least twice the memory."""
        found = like.new_empty(self.planes, self.shape.numel())
        for places in self.places(like).split(max(1, CHUNK // self.planes)):
            found[:, places[0] : places[-1] + 1] = at(places, like)
        return found.view(self.planes, *self.shape)
