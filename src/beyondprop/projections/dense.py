"""The dense Gaussian projection, rebuilt from a seed."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from beyondprop.projections.cached import Stored
from beyondprop.random.gaussian import gaussian

BYTES = 40
"""That an entry takes while it is drawn: uniform and Gaussian numbers, of float64."""


@dataclass(frozen=True)
class Dense(Stored):
    """A stored matrix of independent Gaussian entries.

    Cost: ``in_features × out_features`` multiply-adds a row, and as many stored numbers for each
    block, or if shared for each width.

    Args:
        seed: Whole number that, with the stream, determines every entry.
        shared: One matrix for all blocks, sliced to each width, as in the paper on large
            models (Launay et al. 2020); otherwise one matrix a block (Nøkland 2016).
    """

    name: ClassVar[str] = "dense"

    def drawing(self, device: torch.device) -> tuple[float, torch.device]:  # noqa: ARG002
        """Return the bytes of the uniform and Gaussian numbers, of float64, on the CPU."""
        return BYTES, torch.device("cpu")

    def _draw(self, in_features: int, out_features: int, stream: int, like: Tensor) -> Tensor:
        return drawn(self.seed, stream, in_features, out_features, like)


def drawn(seed: int, stream: int, in_features: int, out_features: int, like: Tensor) -> Tensor:
    """Return a stream's matrix ``(in_features, out_features)``, of ``like``'s dtype and device."""
    # Column by column, so that the matrix of a narrower block is a slice of a wider one's.
    columns = gaussian(seed, stream, in_features * out_features)
    matrix = torch.from_numpy(columns).view(out_features, in_features).t()
    return matrix.mul(out_features**-0.5).contiguous().to(like.device, like.dtype)
