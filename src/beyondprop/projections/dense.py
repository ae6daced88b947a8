"""The dense Gaussian projection, rebuilt from a seed."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from beyondprop.projections.cached import Stored
from beyondprop.random.gaussian import gaussian

BYTES = 40
"""Bytes for each entry while it is drawn: uniform and Gaussian numbers in float64."""


@dataclass(frozen=True)
class Dense(Stored):
    """A stored matrix of independent Gaussian entries.

    Cost: ``in_features × out_features`` multiply-adds per row, and the same number of stored
    numbers for each block, or for each width if shared.

    Args:
        seed: Whole number that, with the stream, determines every entry.
        shared: One matrix for all blocks, sliced to each width, as in the paper on large
            models (Launay et al. 2020); otherwise one matrix per block (Nøkland 2016).
    """

    name: ClassVar[str] = "dense"

    def drawing(self, device: torch.device) -> tuple[float, torch.device]:  # noqa: ARG002
        """Return the bytes of the uniform and Gaussian numbers in float64, on the CPU."""
        return BYTES, torch.device("cpu")

    def _draw(self, in_features: int, out_features: int, stream: int, like: Tensor) -> Tensor:
        return drawn(self.seed, stream, in_features, out_features, like)


def drawn(seed: int, stream: int, in_features: int, out_features: int, like: Tensor) -> Tensor:
    """Return a stream's matrix ``(in_features, out_features)``, in the dtype of ``like``."""
    # Drawn column by column, so that a narrower block's matrix is a slice of a wider one's.
    columns = gaussian(seed, stream, in_features * out_features)
    matrix = torch.from_numpy(columns).view(out_features, in_features).t()
    return matrix.mul(out_features**-0.5).contiguous().to(like.device, like.dtype)
