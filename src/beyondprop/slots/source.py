"""The fixed random numbers of one tensor of weights, drawn when they are asked for."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from beyondprop.random import slot_words
from beyondprop.slots.values import Sharing, Values

CHUNK = 2**16
"""How many weights' numbers are drawn at a time."""


@dataclass(frozen=True)
class Source:
    """The fixed values and initial scores of one tensor; nothing of them is stored.

    Attributes:
        seed: The network's.
        stream: The tensor's, of its name.
        shape: Of the tensor.
        planes: How many values a weight has.
        values: Their distribution.
        sharing: Who has the same ones.
        deviation: σ.
        height: Initial scores are uniform in (0, this),
        centred: or, if so, in (-height, height).
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
        """Return the places of all weights, (n,) int64 on the device of ``like``."""
        return torch.arange(self.shape.numel(), device=like.device)

    def all_values(self, like: Tensor) -> Tensor:
        """Return every value, (planes, *shape), in the type and on the device of ``like``."""
        return self._all(self.values_at, like)

    def all_scores(self, like: Tensor) -> Tensor:
        """Return every initial score, (planes, *shape), like `all_values`."""
        return self._all(self.scores_at, like)

    def values_at(self, places: Tensor, like: Tensor) -> Tensor:
        """Return the values of the weights at places (n,) as (planes, n)."""
        stream, drawn = self.sharing.drawn(self.stream, places)
        mixed = slot_words.mixed_places(drawn, self.seed, stream)
        return torch.stack(
            [
                self.values.draw(
                    slot_words.words(mixed, self.seed, stream, plane),
                    self.deviation,
                ).to(like.dtype)
                for plane in range(self.planes)
            ]
        ).expand(self.planes, len(places))

    def scores_at(self, places: Tensor, like: Tensor) -> Tensor:
        """Return the initial scores of the weights at places (n,) as (planes, n)."""
        mixed = slot_words.mixed_places(places, self.seed, self.stream)
        draw = slot_words.symmetric if self.centred else slot_words.positive
        return torch.stack(
            [
                draw(
                    slot_words.second(slot_words.words(mixed, self.seed, self.stream, plane)),
                    self.height,
                ).to(like.dtype)
                for plane in range(self.planes)
            ]
        )

    def _all(self, at: Callable[[Tensor, Tensor], Tensor], like: Tensor) -> Tensor:
        """Draw some weights' numbers at a time, as words take twice the memory or more."""
        found = like.new_empty(self.planes, self.shape.numel())
        for places in self.places(like).split(CHUNK):
            found[:, places] = at(places, like)
        return found.view(self.planes, *self.shape)
