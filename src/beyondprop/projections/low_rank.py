"""A product of two narrow matrices of random signs."""

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from beyondprop.projections.cached import Shareable
from beyondprop.projections.chunks import unlowered
from beyondprop.projections.signs import Signs
from beyondprop.random import keys
from beyondprop.registry.limits import Count

MARKS = 4, 5
"""Mixed into the seed for the two factors."""


@dataclass(frozen=True)
class LowRank(Shareable):
    """A product of two stored matrices of random signs, which passes only a few input directions.

    The factors are those of `Signs` with the seeds ``key(seed, 4)`` and ``key(seed, 5)`` (see
    `random.keys`). Norms are kept on average, but with a variance of about ``2/rank +
    2/out_features``, not ``2/out_features``.

    Cost: ``rank × (in_features + out_features)`` multiply-adds per row, and the same number of
    stored numbers.

    Args:
        seed: Whole number that, with the stream, determines every entry.
        shared: One map for all blocks, sliced to each width; otherwise one per block.
        rank: The width of the signal between the factors.
    """

    name: ClassVar[str] = "low-rank"
    rank: Count = 32
    _factors: tuple[Signs, ...] = field(default=(), init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        factors = tuple(Signs(keys.key(self.seed, mark)) for mark in MARKS)
        object.__setattr__(self, "_factors", factors)

    def matrix(self, in_features: int, out_features: int, stream: int, like: Tensor) -> Tensor:
        """Return the product of the factors (see `Projection.matrix`), computed on each call."""
        first = self._factors[0].matrix(in_features, self.rank, stream, like)
        second = self._factors[1].matrix(self.rank, out_features, stream, like)
        with unlowered(like):
            return first @ second

    def project(self, x: Tensor, out_features: int, stream: int) -> Tensor:
        """Carry ``x`` of shape ``(..., in_features)`` to shape ``(..., out_features)``."""
        with unlowered(x):
            narrow = self._factors[0].project(x, self.rank, stream)
            return self._factors[1].project(narrow, out_features, stream)
