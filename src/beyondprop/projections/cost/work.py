"""The work of a projection for given widths: amounts of operations, and bytes."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from beyondprop.kernels.registry import compiler_for
from beyondprop.kernels.signs import ROWS_OF_KERNEL, SIDE, TILE, WORTH
from beyondprop.projections.base import Projection
from beyondprop.projections.by_size import BySize
from beyondprop.projections.chunks import CACHE, rows_at_a_time
from beyondprop.projections.cost.rates import stages
from beyondprop.projections.dense import Dense
from beyondprop.projections.hadamard import Hadamard
from beyondprop.projections.low_rank import LowRank
from beyondprop.projections.signs import Signs
from beyondprop.projections.sketched import Sketched
from beyondprop.projections.sparse import ENTRY, LEAST, Sparse
from beyondprop.projections.streamed import Streamed

Amounts = dict[str, float]


@dataclass(frozen=True)
class Work:
    """The work of a projection of float32 rows, once it has drawn its stored numbers.

    Attributes:
        amounts: The amount of each kind of work that `rates` measures.
        stored: Bytes stored between projections.
        peak: Peak bytes while it is drawn or used, without input and output.
    """

    amounts: Amounts
    stored: int
    peak: int


def work(kind: Projection, m: int, n: int, rows: int, device: torch.device) -> Work | None:
    """Return the work of projecting this many rows from ``m`` to ``n`` numbers, if known.

    Args:
        kind: The projection.
        m: Width of the input.
        n: Width of the output.
        rows: The number of inputs.
        device: The device of the inputs.
    """
    if isinstance(kind, BySize):
        kind = kind.chosen(m, n)
    formula = FORMULAS.get(type(kind))
    return None if formula is None else formula(kind, m, n, rows, device)


def _stored(kind: Dense | Signs, m: int, n: int, rows: int, device: torch.device) -> Work:
    entry, _ = kind.drawing(device)
    return Work(product(m, n, rows), 4 * m * n, math.ceil(entry * m * n))


def _streamed(kind: Streamed, m: int, n: int, rows: int, device: torch.device) -> Work:  # noqa: ARG001
    passed = 4.0 * rows * (m + n)
    beside = 4 * rows * (m + n) + 16 * TILE  # a padded copy, and the sums
    like = torch.empty(0, device=device, dtype=torch.float32)
    compiler = compiler_for(like)
    if compiler == "triton":
        parts = math.ceil(rows / ROWS_OF_KERNEL)
        unit, times = ("drawn", 1) if rows == 1 else ("drawn for rows", parts)
        return Work({unit: m * n * times, "bytes": passed, "calls": 10}, 0, beside)
    fused = compiler == "numba"
    if fused and WORTH * rows <= n:
        looked_up = rows * m / 8 * (n + 256 * math.ceil(n / 4096))  # including the look-up tables
        amounts = {"words": m * n / 64, "look-ups": looked_up, "calls": 20.0, "bytes": passed}
        return Work(amounts, 0, beside)
    side = min(SIDE, -(-m // 64) * 64)
    across, down = math.ceil(m / side), math.ceil(n / (TILE // side))
    again = 8.0 * rows * n * across  # sums are read and written for every tile
    tiles = math.ceil(m / 64) * 64 * n / TILE if fused else across * down  # of calls, or of signs
    amounts = {"tiles": tiles, "calls": 4.0 * across * down + 10, "bytes": passed + again}
    return Work(amounts | {"multiply-adds": float(rows * m * n)}, 0, beside)


def _hadamard(kind: Hadamard, m: int, n: int, rows: int, device: torch.device) -> Work:
    full = 1 << (max(m, n) - 1).bit_length()
    products = kind.rounds * stages(full)
    some = min(rows, rows_at_a_time(full, device))
    chosen = 64.0 * n + 8 * rows * n if n < full else 0.0
    amounts = {
        "stages" if 4 * full <= CACHE else "far stages": rows * full * products,
        "bytes": 4 * rows * (m + full) + 12 * kind.rounds * rows * full + chosen,
        "calls": math.ceil(rows / some) * (25 * products + 15),  # including small matrices
    }
    stored = 4 * kind.rounds * full
    beside = 20 * some * full + 4 * rows * n + (24 * n if n < full else 0)
    return Work(amounts, stored, stored + beside)


def _sketched(kind: Sketched, m: int, n: int, rows: int, device: torch.device) -> Work | None:
    inner = work(kind.inner, min(m, kind.buckets), n, rows, device)
    if m <= kind.buckets or inner is None:
        return inner
    sums = {"scattered": rows * m, "bytes": 40 * m + 8 * rows * m, "calls": 8}
    amounts = total(inner.amounts, sums)
    return Work(amounts, 16 * m + inner.stored, 40 * m + 4 * rows * m + inner.peak)


def _sparse(kind: Sparse, m: int, n: int, rows: int, device: torch.device) -> Work:
    entries = math.ceil(kind.density * m * n)
    parts = math.ceil(rows / rows_at_a_time(m, device, LEAST))
    amounts = {"places": parts * entries, "gathered": float(rows * entries)}
    amounts |= {"bytes": 8 * rows * (m + n), "calls": 8 * parts}
    return Work(amounts, 12 * entries + 8 * (n + 1), ENTRY * entries + 4 * rows * (m + n))


def _low_rank(kind: LowRank, m: int, n: int, rows: int, device: Any) -> Work:  # noqa: ARG001
    amounts = total(product(m, kind.rank, rows), product(kind.rank, n, rows))
    return Work(amounts, 4 * kind.rank * (m + n), 10 * kind.rank * (m + n) + 4 * rows * kind.rank)


def product(m: int, n: int, rows: int) -> Amounts:
    """Return the work of a product with a stored matrix: its arithmetic and its memory traffic."""
    matrix = "bytes" if rows == 1 else "packed"  # for several rows, it is rearranged first
    works = {"multiply-adds": float(rows * m * n), "calls": 2.0}, {"bytes": 4.0 * rows * (m + n)}
    return total(*works, {matrix: 4.0 * m * n})


def total(*works: Mapping[str, float]) -> Amounts:
    """Return the sum of several amounts of work."""
    return {name: sum(w.get(name, 0) for w in works) for work in works for name in work}


FORMULAS: dict[type[Projection], Callable[..., Work | None]] = {
    Dense: _stored,
    Signs: _stored,
    Streamed: _streamed,
    Hadamard: _hadamard,
    Sketched: _sketched,
    Sparse: _sparse,
    LowRank: _low_rank,
}
