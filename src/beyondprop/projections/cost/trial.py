"""Trying a projection out: its time, and how well it keeps what it should keep."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from beyondprop.projections.base import Projection
from beyondprop.projections.cost.choice import cost_of
from beyondprop.projections.streamed import Streamed

LIMIT = 1.0
"""Seconds, as predicted, after which `Streamed` is timed on a part of its outputs."""

PART = 4096
"""What such a part is a multiple of, so that it is done as the whole is."""

PIECE = 2**14
"""How many numbers of each vector are looked at in float64 at a time."""

VECTORS = 8
SAMPLE = 2048, 1024


@dataclass(frozen=True)
class ProjectionErrors:
    """How far a projection of some vectors is from what it should be.

    Attributes:
        outputs: Of so many numbers.
        norm: Of ``|Px| / |x| - 1``, the root mean square over the vectors.
        norm_gaussian: The same for a matrix of independent Gaussian entries, in theory.
        inner: Of ``(Px · Py - x · y) / (|x| |y|)``, the root mean square over all pairs; the
            vectors' cosine is about a half.
        inner_gaussian: The same for a matrix of independent Gaussian entries, in theory.
    """

    outputs: int
    norm: float
    norm_gaussian: float
    inner: float
    inner_gaussian: float


def outputs_within(
    projection: Projection, m: int, n: int, rows: int, device: torch.device, seconds: float = LIMIT
) -> int:
    """Return how many of the ``n`` outputs to time: all, but for `Streamed` where that is long.

    Each of its outputs is as much work as any other, so time is in proportion.
    """
    if not isinstance(projection, Streamed):
        return n
    whole = cost_of(projection, m, n, rows, device).seconds
    return min(n, max(1, int(n * seconds / whole) // PART) * PART) if whole > seconds else n


def turns(projection: Projection, x: Tensor, outputs: int, rounds: int) -> Iterator[float]:
    """Yield the seconds of one projection after another, warmed up; for progress bars."""
    warm = (x[:1], min(outputs, 64)) if isinstance(projection, Streamed) else (x, outputs)
    projection.project(*warm, 0)
    for _ in range(rounds):
        _wait(x.device)
        begun = time.perf_counter()
        projection.project(x, outputs, 0)
        _wait(x.device)
        yield time.perf_counter() - begun


def vectors(count: int, width: int, device: torch.device) -> Tensor:
    """Return Gaussian test vectors with a part in common: any two have a cosine of about a half."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(count + 1, width, generator=generator)
    drawn[1:] += drawn[0]  # they may be as large as fits
    return drawn[1:].to(device)


def errors(projection: Projection, m: int, n: int, device: torch.device) -> ProjectionErrors:
    """Return how well norms and inner products are kept, on a few vectors."""
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
    """Return the error relative to the exact product, by the whole matrix in float64.

    Args:
        projection: What projects, in float32.
        m: Width of the input; small, as the matrix is made.
        n: Width of the output.
        device: Where.
    """
    x = vectors(VECTORS, m, device)
    exact = x.double() @ projection.matrix(m, n, 0, x.double())
    return float((projection.project(x, n, 0) - exact).norm() / exact.norm())


def _inner(x: Tensor) -> Tensor:
    """Return all inner products in float64, of which only a part of x is made at a time."""
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
