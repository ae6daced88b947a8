"""A dense matrix for small widths, a structured map where that costs less."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from beyondprop._torch.eager import eager
from beyondprop.projections.base import Projection
from beyondprop.projections.cached import Stored
from beyondprop.projections.checks import check, check_widths
from beyondprop.projections.dense import BYTES, Dense, drawn
from beyondprop.projections.hadamard import Hadamard
from beyondprop.registry.limits import Count

STEP = 16
"""Matrix entries whose product takes as long as one number's step in a fast transform.

Measured on one core, with 32 and with 512 rows, from 1,000 × 16,384 to 1,048,576 × 64: both take
the same time at 12 to 15.
"""

MOST = 2**28
"""Entries of the largest stored matrix: 1 GiB in float32, and ten times that to draw it."""


@dataclass(frozen=True)
class BySize(Stored):
    """`Dense` or `Hadamard`, chosen for each pair of widths only by their sizes.

    With ``n``, the smallest power of two that holds both widths, it is `Hadamard` if a matrix would
    have more than ``above`` entries and more than ``16 n log2 n``, near which times are equal, or
    more than 2²⁸ entries; otherwise `Dense`. Nothing is measured, so all machines choose the same.

    Cost: that of the chosen projection.

    Args:
        seed: Whole number that, with the stream, determines every entry.
        shared: One map for all blocks, of which `Dense` slices each width; otherwise one per block.
        above: Up to this many entries are always stored as a matrix: drawing 2²⁴ takes two seconds,
            once.
    """

    name: ClassVar[str] = "by-size"
    above: Count = 2**24

    def chosen(self, in_features: int, out_features: int) -> Projection:
        """Return the projection chosen for two widths."""
        check_widths(in_features, out_features)
        kind = Hadamard if self._structured(in_features, out_features) else Dense
        return kind(self.seed, self.shared)

    def matrix(self, in_features: int, out_features: int, stream: int, like: Tensor) -> Tensor:
        """Return the map as a matrix (see `Projection.matrix`)."""
        check(like, in_features, out_features)
        if self._structured(in_features, out_features):
            return self._map(in_features, out_features).matrix(
                in_features, out_features, stream, like
            )
        return super().matrix(in_features, out_features, stream, like)

    def drawing(self, device: torch.device) -> tuple[float, torch.device]:  # noqa: ARG002
        """Return the bytes for drawing an entry of `Dense`, on the CPU."""
        return BYTES, torch.device("cpu")

    def remarks(self) -> Iterator[str]:
        """Yield the pairs of widths for which `Hadamard` was used so far."""
        for m, n in (key for key in self._drawn if len(key) == 2):
            yield (
                f"from {m:,} to {n:,} numbers uses Hadamard, as a matrix of {m * n:,} entries "
                "would cost more"
            )

    def _structured(self, m: int, n: int) -> bool:
        bits = (max(m, n) - 1).bit_length()
        return m * n > MOST or m * n > max(self.above, STEP * bits << bits)

    def _undrawn(self, x: Tensor, out_features: int, stream: int) -> Tensor:
        check(x, x.shape[-1], out_features)
        if self._structured(x.shape[-1], out_features):
            return self._map(x.shape[-1], out_features).project(x, out_features, stream)
        return super()._undrawn(x, out_features, stream)

    @eager
    def _map(self, in_features: int, out_features: int) -> Projection:
        """Return the one map of all large widths, and record its use for these."""
        found: Projection = self._cached(self._hadamard)
        self._drawn[int(in_features), int(out_features)] = found
        return found

    def _hadamard(self) -> Hadamard:
        return Hadamard(self.seed, self.shared)

    def _draw(self, in_features: int, out_features: int, stream: int, like: Tensor) -> Tensor:
        return drawn(self.seed, stream, in_features, out_features, like)
