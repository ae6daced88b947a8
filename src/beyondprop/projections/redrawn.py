"""Gaussian matrices for a single use, drawn fast and never kept."""

import hashlib
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from beyondprop._torch.eager import eager
from beyondprop.projections.base import Projection
from beyondprop.projections.checks import check


@dataclass(frozen=True)
class Redrawn(Projection):
    """A Gaussian matrix drawn when it is used and then discarded, for rules that redraw it.

    The same seed, stream, shape, device and PyTorch version give the same matrix, so that several
    processes draw the same; unlike `Dense` it is not promised across devices and versions, which
    makes it many times as fast.
    """

    name: ClassVar[str] = "redrawn"

    @eager
    def matrix(self, in_features: int, out_features: int, stream: int, like: Tensor) -> Tensor:
        """Return the matrix (see `Projection.matrix`)."""
        check(like, in_features, out_features)
        # A generator of the CPU looks at the last 32 bits of a seed alone: mix both into them.
        mixed = hashlib.blake2b(f"{self.seed}, {stream}".encode(), digest_size=7).digest()
        generator = torch.Generator(like.device).manual_seed(int.from_bytes(mixed))
        matrix = torch.empty(in_features, out_features, dtype=like.dtype, device=like.device)
        return matrix.normal_(0.0, out_features**-0.5, generator=generator)
