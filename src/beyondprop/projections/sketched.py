"""A count sketch before another projection, for very wide inputs."""

from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from beyondprop._torch.eager import eager
from beyondprop.projections.base import Projection
from beyondprop.projections.cached import Cached
from beyondprop.projections.checks import check
from beyondprop.projections.signs import Signs
from beyondprop.random import keys
from beyondprop.registry.limits import Limits

MARK = 2
"""Mixed into the seed, so that no other projection draws the same signs."""


@dataclass(frozen=True)
class Sketched(Cached):
    """Inputs summed into buckets with random signs, and carried on by another projection.

    This is the count sketch (Charikar, Chen and Farach-Colton 2002): with the words ``w = word(0,
    i)`` of the seed ``key(seed, 2)`` (see `random.keys`), input ``i`` is added to bucket ``(w div
    2^32) × buckets div 2^32``, negated unless the lowest bit of ``w`` is set. Like the inner
    projection, it keeps norms on average. Inputs that are not wider than the number of buckets need
    no sketch: the inner projection carries them on its stream ``key(key(seed, 2), stream) div 2``,
    so that every seed still gives a different map.

    Cost: ``in_features`` additions and the inner projection of ``buckets`` inputs per row.

    Args:
        seed: Whole number that, with the stream, determines buckets and signs.
        inner: The projection of the buckets, which has its own seed and determines whether blocks
            share one map.
        buckets: The number of buckets, at most 2^31.
    """

    name: ClassVar[str] = "sketched"
    inner: Projection = field(default_factory=partial(Signs, shared=True))
    buckets: Annotated[int, Limits(1, 2**31)] = 1024

    def stream(self, block: int) -> int:
        """Return the stream of a block, the inner projection's."""
        return self.inner.stream(block)

    def matrix(self, in_features: int, out_features: int, stream: int, like: Tensor) -> Tensor:
        """Return the map as a matrix (see `Projection.matrix`): signed rows of the inner matrix."""
        check(like, in_features, out_features)
        if in_features <= self.buckets:
            return self.inner.matrix(in_features, out_features, self._mixed(stream) >> 1, like)
        inner = self.inner.matrix(self.buckets, out_features, stream, like)
        bucket, positive = self._cached(self._draw, in_features, stream, like.device)
        signs: Tensor = (positive * 2 - 1).to(like.dtype)
        return inner[bucket] * signs.unsqueeze(1)

    def project(self, x: Tensor, out_features: int, stream: int) -> Tensor:
        """Carry ``x`` of shape ``(..., in_features)`` to shape ``(..., out_features)``."""
        check(x, x.shape[-1], out_features)
        if x.shape[-1] <= self.buckets:
            return self.inner.project(x, out_features, self._mixed(stream) >> 1)
        bucket, positive = self._cached(self._draw, x.shape[-1], stream, x.device)
        sketch = x.new_zeros(*x.shape[:-1], self.buckets)
        x = sketch.index_add(-1, bucket, x * (positive * 2 - 1).to(x.dtype))
        return self.inner.project(x, out_features, stream)

    def _mixed(self, stream: int) -> int:
        """Return 64 bits that the seed and the stream determine."""
        return keys.key(keys.key(self.seed, MARK), stream)

    @eager
    def _draw(self, count: int, stream: int, device: torch.device) -> Tensor:
        (words,) = keys.words(self._mixed(stream), range(1), range(count), device)
        return torch.stack([keys.shifted(words, 32) * self.buckets >> 32, words & 1])
