"""Sparse matrices of random signs."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from beyondprop.kernels.registry import DTYPES
from beyondprop.projections.cached import Stored
from beyondprop.projections.checks import check
from beyondprop.projections.chunks import in_chunks
from beyondprop.random import keys
from beyondprop.registry.limits import PositiveShare

MARK = 3
"""Mixed into the seed, so that no other projection draws the same signs."""

LEAST = 16
"""The minimum number of rows in a chunk that justifies another pass over all entries."""

CHUNK = 2**20
"""How many entries are drawn at a time."""

ENTRY = 80
"""Bytes for each nonzero entry while it is drawn."""


@dataclass(frozen=True)
class Sparse(Stored):
    """A stored sparse matrix of independent entries: random signs, or zero.

    As in Achlioptas 2003, with a density of 1/3, and Li, Hastie and Church 2006, with lower ones:
    entry ``(i, j)`` is ``±(density × out_features) ** -0.5`` with a probability of ``density``.
    With the word ``w = word(j, i)`` of the seed ``key(seed, 3)`` (see `random.keys`), the entry is
    nonzero if ``w div 2^11 < density × 2^53``, and positive if the lowest bit of ``w`` is set.

    Cost: ``density × in_features × out_features`` multiply-adds per row, and the same number of
    stored numbers and indices; one hash for every entry, including zeros, when it is drawn.

    Args:
        seed: Whole number that, with the stream, determines every entry.
        shared: One matrix for all blocks, sliced to each width; otherwise one matrix per block.
        density: The share of entries that are not zero, above 0 and at most 1.
    """

    name: ClassVar[str] = "sparse"
    density: PositiveShare = 1 / 3

    def matrix(self, in_features: int, out_features: int, stream: int, like: Tensor) -> Tensor:
        """Return the full matrix (see `Projection.matrix`), computed on each call."""
        places, starts, values = self._stored(in_features, out_features, stream, like)
        found: Tensor = values.new_zeros(in_features, out_features)
        outputs = torch.arange(out_features, device=like.device)
        found[places, outputs.repeat_interleave(starts.diff())] = values
        return found

    def project(self, x: Tensor, out_features: int, stream: int) -> Tensor:
        """Carry ``x`` of shape ``(..., in_features)`` to shape ``(..., out_features)``."""
        check(x, x.shape[-1], out_features)
        exact = x if x.dtype in DTYPES else x.float()  # sums need one of these dtypes
        places, starts, values = self._stored(x.shape[-1], out_features, stream, exact)

        def carried(rows: Tensor) -> Tensor:
            sums: Tensor = F.embedding_bag(
                places,
                rows.t().clone(memory_format=torch.contiguous_format),  # otherwise one row is slow
                starts,
                mode="sum",
                per_sample_weights=values,
                include_last_offset=True,
            )
            return sums.t()

        found = in_chunks(carried, exact.reshape(-1, x.shape[-1]), x.shape[-1], LEAST)
        return found.contiguous().view(*x.shape[:-1], out_features).to(x.dtype)

    def drawing(self, device: torch.device) -> tuple[float, torch.device]:
        """Return the bytes of the indices and signs of nonzero entries."""
        return ENTRY * self.density, device

    def _draw(
        self, in_features: int, out_features: int, stream: int, like: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the input indices of all outputs in order, each output's start, and entries."""
        base = keys.key(keys.key(self.seed, MARK), stream)
        limit, step = math.ceil(self.density * 2**53), max(1, CHUNK // in_features)
        places, positive, counts = [], [], [torch.zeros(1, dtype=torch.int64, device=like.device)]
        for first in range(0, out_features, step):
            some = range(first, min(first + step, out_features))
            words = keys.words(base, some, range(in_features), like.device)
            there = keys.shifted(words, 11) < limit
            places.append(there.nonzero()[:, 1])
            positive.append(words[there] & 1)
            counts.append(there.sum(1))
        values = (torch.cat(positive) * 2 - 1).to(like.dtype)
        scale = (self.density * out_features) ** -0.5
        return torch.cat(places), torch.cat(counts).cumsum(0), values * scale
