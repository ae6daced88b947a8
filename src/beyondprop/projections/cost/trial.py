"""Trials of a projection: its time, and how well it preserves norms and inner products."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from beyondprop.projections.base import Projection
from beyondprop.projections.cost.choice import cost_of
from beyondprop.projections.streamed import Streamed

LIMIT = 1.0
"""Predicted seconds above which `Streamed` is timed on a part of its outputs."""

PART = 4096
"""The part is a multiple of this number of outputs, so that it is computed like all of them."""

PIECE = 2**14
"""How many numbers of each vector are converted to float64 at a time."""

VECTORS = 8
SAMPLE = 2048, 1024


@dataclass(frozen=True)
class ProjectionErrors:
    """Errors in the norms and inner products of some projected vectors.

    Attributes:
        outputs: The number of outputs.
        norm: The root mean square of ``|Px| / |x| - 1`` over the vectors.
        norm_gaussian: The theoretical value for a matrix of independent Gaussian entries.
        inner: The root mean square of ``(Px · Py - x · y) / (|x| |y|)`` over all pairs; the
            vectors' cosine is about a half.
        inner_gaussian: The theoretical value for a matrix of independent Gaussian entries.
    """

    outputs: int
    norm: float
    norm_gaussian: float
    inner: float
    inner_gaussian: float


def outputs_within(
    projection: Projection, m: int, n: int, rows: int, device: torch.device, seconds: float = LIMIT
) -> int:
    """Return how many of the ``n`` outputs to time: all, unless that is too long for `Streamed`.

    All its outputs take the same work, so time is proportional to their number.
    """
    if not isinstance(projection, Streamed):
        return n
    whole = cost_of(projection, m, n, rows, device).seconds
    return min(n, max(1, int(n * seconds / whole) // PART) * PART) if whole > seconds else n


def turns(projection: Projection, x: Tensor, outputs: int, rounds: int) -> Iterator[float]:
    """Yield the seconds of successive projections after a warm-up, for progress bars."""
    warm = (x[:1], min(outputs, 64)) if isinstance(projection, Streamed) else (x, outputs)
    projection.project(*warm, 0)
    for _ in range(rounds):
        _wait(x.device)
        begun = time.perf_counter()
        projection.project(x, outputs, 0)
        _wait(x.device)
        yield time.perf_counter() - begun


def vectors(count: int, width: int, device: torch.device) -> Tensor:
    """Return Gaussian test vectors with a common part: any two have a cosine of about a half."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(count + 1, width, generator=generator)
    drawn[1:] += drawn[0]  # in place, as they may almost fill the memory
    return drawn[1:].to(device)


def errors(projection: Projection, m: int, n: int, device: torch.device) -> ProjectionErrors:
    """Return the errors of norms and inner products, on a few vectors."""
    outputs = outputs_within(projection, m, n, VECTORS, device)
    x = vectors(VECTORS, m, device)
    before, after = _inner(x), _inner(projection.project(x, outputs, 0))
    lengths = before.diag().sqrt()
    cosine = before / lengths.outer(lengths)
    error = after / lengths.outer(lengths) - cosine
    above = torch.ones_like(error).triu(1).bool()
    return ProjectionErrors(
        outputs,
        norm=_spread(after.diag().sqrt() / lengths - 1),
        norm_gaussian=(2 * outputs) ** -0.5,
        inner=_spread(error[above]),
        inner_gaussian=_spread((1 + cosine[above] ** 2).sqrt()) / outputs**0.5,
    )


def rounding(projection: Projection, m: int, n: int, device: torch.device) -> float:
    """Return the error relative to the exact product with the complete matrix in float64.

    Args:
        projection: The projection, in float32.
        m: Width of the input, which must be small, as the matrix is built.
        n: Width of the output.
        device: The device of the projection.
    """
    x = vectors(VECTORS, m, device)
    exact = x.double() @ projection.matrix(m, n, 0, x.double())
    return float((projection.project(x, n, 0) - exact).norm() / exact.norm())


def _inner(x: Tensor) -> Tensor:
    """Return all inner products in float64, converting only a part of x at a time."""
    found = x.new_zeros(len(x), len(x), dtype=torch.float64)
    for part in x.split(PIECE, 1):
        exact = part.double()
        found += exact @ exact.t()
    return found


def _spread(errors: Tensor) -> float:
    return float(errors.square().mean().sqrt())


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
