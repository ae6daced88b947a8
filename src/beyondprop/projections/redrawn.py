"""Gaussian matrices for a single use, drawn quickly and never stored."""

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
    processes draw the same. Unlike `Dense`, this is not guaranteed across devices and versions,
    which makes it many times as fast.
    """

    name: ClassVar[str] = "redrawn"

    @eager
    def matrix(self, in_features: int, out_features: int, stream: int, like: Tensor) -> Tensor:
        """Return the matrix (see `Projection.matrix`)."""
        check(like, in_features, out_features)
        # A CPU generator uses only the last 32 bits of a seed, so mix both numbers into them.
        mixed = hashlib.blake2b(f"{self.seed}, {stream}".encode(), digest_size=7).digest()
        generator = torch.Generator(like.device).manual_seed(int.from_bytes(mixed))
        matrix = torch.empty(in_features, out_features, dtype=like.dtype, device=like.device)
        return matrix.normal_(0.0, out_features**-0.5, generator=generator)
