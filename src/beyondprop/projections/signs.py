"""Random signs, rebuilt from a seed."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from beyondprop.kernels.signs import signs
from beyondprop.projections.cached import Stored
from beyondprop.random import keys


@dataclass(frozen=True)
class Signs(Stored):
    """A stored matrix of independent random signs.

    Entry ``(i, j)`` is ``out_features ** -0.5`` times ``sign(i, j)``, which is bit ``i mod 64`` of
    a 64-bit hash of the seed, the stream, ``j`` and ``i div 64``; `random.keys` specifies it.
    Cost: that of `Dense`, and one hash for every 64 entries when it is drawn.

    Args:
        seed: Whole number that, with the stream, determines every entry.
        shared: One matrix for all blocks, sliced to each width; otherwise one matrix per block.
    """

    name: ClassVar[str] = "signs"

    def drawing(self, device: torch.device) -> tuple[float, torch.device]:
        """Return the bytes of words and signs before they are transposed."""
        return 10, device

    def _draw(self, in_features: int, out_features: int, stream: int, like: Tensor) -> Tensor:
        return sign_matrix(self.seed, in_features, out_features, stream, like)


def sign_matrix(
    seed: int, in_features: int, out_features: int, stream: int, like: Tensor
) -> Tensor:
    """Return the matrix of `Signs`, ``(in_features, out_features)``."""
    base = keys.key(seed, stream)
    drawn = signs(base, range(out_features), range(in_features), like)  # (out, in)
    return drawn.t().contiguous().mul_(out_features**-0.5)
