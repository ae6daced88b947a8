"""Random signs that are made as they are needed and never stored."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from beyondprop._torch.eager import eager
from beyondprop.projections import bits
from beyondprop.projections.checks import check
from beyondprop.projections.parts import unlowered
from beyondprop.projections.signs import Signs

TILE = 2**18
"""How many signs exist at a time."""

SIDE = 2**12
"""How many inputs a tile reaches over, at the most; a multiple of 64."""

WORTH = 32
"""How many outputs for each row make the fused loop, which begins with tables, the faster one."""


@dataclass(frozen=True)
class Streamed(Signs):
    """The matrix of `Signs`, made tile by tile during each product and never stored.

    Cost: ``in_features × out_features`` additions a row and a sixty-fourth as many hashes; a tile
    of numbers is stored, whatever the widths. A trillion entries are a matter of time, not of
    memory. Its gradient is the product with the transposed matrix, made by tiles as well.

    Args:
        seed: Whole number that, with the stream, determines every entry.
        shared: One matrix for all blocks, sliced to each width; otherwise one matrix a block.
    """

    name: ClassVar[str] = "streamed"

    @eager
    def matrix(self, in_features: int, out_features: int, stream: int, like: Tensor) -> Tensor:
        """Return the whole matrix (see `Projection.matrix`), drawn anew and not kept."""
        check(like, in_features, out_features)
        return self._draw(in_features, out_features, stream, like)

    @eager
    def project(self, x: Tensor, out_features: int, stream: int) -> Tensor:
        """Carry ``x`` of shape ``(..., in_features)`` to shape ``(..., out_features)``."""
        check(x, x.shape[-1], out_features)
        exact = x if x.dtype in (torch.float32, torch.float64) else x.float()
        rows = exact.reshape(-1, x.shape[-1])
        found = product(rows, out_features, bits.key(self.seed, stream), False)
        return found.mul(out_features**-0.5).view(*x.shape[:-1], out_features).to(x.dtype)


class Product(torch.autograd.Function):
    """Sums of numbers by their signs; the gradient is the transposed product, and so on."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, width: int, base: int, transposed: bool) -> Tensor:
        """Carry x, ``(rows, n)``, to ``(rows, width)``: over inputs or, transposed, outputs."""
        ctx.back = x.shape[1], base, not transposed
        if not transposed and WORTH * len(x) <= width and bits.fused(x):
            from beyondprop.projections import bits_numba

            return bits_numba.product(base, x, width)
        if bits.on_gpu(x):
            from beyondprop.projections import bits_triton

            return bits_triton.product(base, x, width, transposed)
        with unlowered(x):
            return tiled(x, width, base, transposed)

    @staticmethod
    def backward(ctx: Any, *errors: Tensor) -> Any:
        """Carry the error back."""
        return product(errors[0], *ctx.back), None, None, None


def product(x: Tensor, width: int, base: int, transposed: bool) -> Tensor:
    """Return what `Product` does, with a gradient."""
    found: Tensor = Product.apply(x, width, base, transposed)  # type: ignore[no-untyped-call]
    return found


def tiled(x: Tensor, width: int, base: int, transposed: bool) -> Tensor:
    """Return what `Product` does, a tile at a time."""
    inputs, outputs = (width, x.shape[1]) if transposed else (x.shape[1], width)
    side = min(SIDE, -(-inputs // 64) * 64)
    found = x.new_zeros(len(x), width)
    for out in _parts(outputs, TILE // side):
        for into in _parts(inputs, side):
            tile = bits.signs(base, out, into, x)
            if transposed:
                found[:, into.start : into.stop] += x[:, out.start : out.stop] @ tile
            else:
                found[:, out.start : out.stop] += x[:, into.start : into.stop] @ tile.t()
    return found


def _parts(count: int, size: int) -> Iterator[range]:
    return (range(i, min(i + size, count)) for i in range(0, count, size))
