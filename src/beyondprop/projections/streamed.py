"""Random signs that are computed as needed and never stored."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from beyondprop._torch.eager import eager
from beyondprop.kernels.signs import signed_sums
from beyondprop.projections.base import Projection
from beyondprop.projections.checks import check
from beyondprop.projections.chunks import unlowered
from beyondprop.projections.signs import sign_matrix
from beyondprop.random import keys


@dataclass(frozen=True)
class Streamed(Projection):
    """The matrix of `Signs`, computed tile by tile during each product and never stored.

    Cost: ``in_features × out_features`` additions per row, and one hash for every 64 entries; only
    one tile of numbers is in memory, for any widths. The number of entries is limited by time, not
    by memory, even at a trillion. Its gradient is the product with the transposed matrix, also
    computed by tiles.

    Args:
        seed: Whole number that, with the stream, determines every entry.
        shared: One matrix for all blocks, sliced to each width; otherwise one matrix per block.
    """

    name: ClassVar[str] = "streamed"
    shared: bool = False

    def stream(self, block: int) -> int:
        """Return the stream of a block: its own number, or 0 for all."""
        return 0 if self.shared else block

    @eager
    def matrix(self, in_features: int, out_features: int, stream: int, like: Tensor) -> Tensor:
        """Return the full matrix (see `Projection.matrix`), drawn on each call and not stored."""
        check(like, in_features, out_features)
        return sign_matrix(self.seed, in_features, out_features, stream, like)

    @eager
    def project(self, x: Tensor, out_features: int, stream: int) -> Tensor:
        """Carry ``x`` of shape ``(..., in_features)`` to shape ``(..., out_features)``."""
        check(x, x.shape[-1], out_features)
        exact = x if x.dtype in (torch.float32, torch.float64) else x.float()
        rows = exact.reshape(-1, x.shape[-1])
        base = keys.key(self.seed, stream)
        found: Tensor = SignedSums.apply(rows, base, out_features, False)
        return found.mul(out_features**-0.5).view(*x.shape[:-1], out_features).to(x.dtype)


class SignedSums(torch.autograd.Function):
    """Signed sums of numbers; the gradient is the transposed signed sums, for any order."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, base: int, width: int, transposed: bool) -> Tensor:
        """Carry x, ``(rows, n)``, to ``(rows, width)``: over inputs or, transposed, outputs."""
        ctx.back = base, x.shape[1], not transposed
        with unlowered(x):
            return signed_sums(base, x, width, transposed)

    @staticmethod
    def backward(ctx: Any, *errors: Tensor) -> Any:
        """Carry the error back."""
        return SignedSums.apply(errors[0], *ctx.back), None, None, None
