"""Random signs, and sums of numbers with them; `beyondprop.random.keys` specifies the bits."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from beyondprop.kernels.registry import Operation, compiler_for
from beyondprop.random.keys import words

TILE = 2**18
"""Maximum number of signs in memory at a time."""

SIDE = 2**12
"""Maximum number of inputs in a tile; a multiple of 64."""

BLOCK = 4096
"""Number of outputs per block of the fused loop; their data fits in the cache."""

ROWS_OF_KERNEL = 16
"""Number of rows per program of the GPU kernel; the minimum for a product in Triton."""

WORTH = 32
"""Number of outputs per row from which the fused loop, which first builds tables, is faster."""


def signs(base: int, outputs: range, inputs: range, like: Tensor) -> Tensor:
    """Return signs, 1 or -1 of ``like``'s dtype and device, ``(len(outputs), len(inputs))``.

    Args:
        base: ``key(seed, stream)``.
        outputs: Range of outputs.
        inputs: Range of inputs, which begins at a multiple of 64.
        like: A tensor with the device and the floating dtype of the result.
    """
    found: Tensor = SIGNS.form_for(like)(base, outputs, inputs, like)
    return found


def signed_sums(base: int, x: Tensor, width: int, transposed: bool) -> Tensor:
    """Return the sums of numbers times their signs, ``(rows, width)``.

    Args:
        base: ``key(seed, stream)``.
        x: ``(rows, inputs)`` or, transposed, ``(rows, outputs)``.
        width: Number of outputs or, transposed, of inputs.
        transposed: Whether to sum over outputs.
    """
    compiler = compiler_for(x)
    if compiler == "numba" and (transposed or WORTH * len(x) > width):
        compiler = ""
    found: Tensor = SIGNED_SUMS.form(compiler)(base, x, width, transposed)
    return found


def plain_signs(base: int, outputs: range, inputs: range, like: Tensor) -> Tensor:
    """Return signs as `signs` does, on any device and in any dtype."""
    groups = range(inputs.start // 64, -(-inputs.stop // 64))
    byte, place = (torch.arange(n, device=like.device) for n in (256, 8))
    table = ((byte.unsqueeze(1) >> place & 1) * 2 - 1).to(like.dtype)  # each byte's eight signs
    drawn = words(base, outputs, groups, like.device)
    found = F.embedding(drawn.unsqueeze(-1) >> 8 * place & 255, table)
    found = found.view(len(outputs), 64 * len(groups))
    return found[:, : len(inputs)]


def plain_signed_sums(base: int, x: Tensor, width: int, transposed: bool) -> Tensor:
    """Return the same as `signed_sums`, computed tile by tile."""
    inputs, outputs = (width, x.shape[1]) if transposed else (x.shape[1], width)
    side = min(SIDE, -(-inputs // 64) * 64)
    found = x.new_zeros(len(x), width)
    for out in _parts(outputs, TILE // side):
        for into in _parts(inputs, side):
            tile = signs(base, out, into, x)
            if transposed:
                found[:, into.start : into.stop] += x[:, out.start : out.stop] @ tile
            else:
                found[:, out.start : out.stop] += x[:, into.start : into.stop] @ tile.t()
    return found


def _parts(count: int, size: int) -> Iterator[range]:
    return (range(i, min(i + size, count)) for i in range(0, count, size))


SIGNS = Operation(
    "signs",
    plain_signs,
    {
        "numba": "beyondprop.kernels.signs_numba:signs",
        "triton": "beyondprop.kernels.signs_triton:signs",
    },
)
SIGNED_SUMS = Operation(
    "signed sums",
    plain_signed_sums,
    {
        "numba": "beyondprop.kernels.signs_numba:signed_sums",
        "triton": "beyondprop.kernels.signs_triton:signed_sums",
    },
)
