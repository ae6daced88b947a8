"""The speed of this machine at the operations of projections, measured at the first use."""

import time
from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor
from torch.nn import functional as F

from beyondprop.kernels.registry import compiler_for
from beyondprop.kernels.signs import BLOCK, ROWS_OF_KERNEL, SIDE, SIGNED_SUMS, TILE, signs
from beyondprop.projections.chunks import CACHE
from beyondprop.projections.hadamard import BITS, transform

TURN = 1e-3
"""The minimum seconds of a measured operation, unless it grows too large."""

MOST = 2**18
"""The size at which it stops growing: columns of a matrix, or numbers in a vector."""

ROWS = 8
"""Rows in a batch."""

Make = Callable[[int], tuple[Callable[[], object], int]]


@cache
def rates(device: torch.device, threads: int) -> dict[str, float]:  # noqa: ARG001
    """Return the seconds for a unit of each kind of work in float32, with the units of `work`.

    Args:
        device: The device to measure.
        threads: PyTorch's current threads. With another number, all rates are measured again.
    """
    like = torch.ones(1, dtype=torch.float32, device=device)
    with torch.no_grad():
        call = _fastest(lambda: [like.add(like) for _ in range(100)], device) / 100
        multiply_add = _grown(lambda size: _product(like, 256, size), 64, device)
        batch = _grown(lambda size: _product(like, ROWS, size), 512, device)
        tile = _fastest(lambda: signs(1, range(TILE // SIDE), range(SIDE), like), device)
        found = {
            "calls": call,
            "multiply-adds": multiply_add,
            "bytes": _grown(lambda size: _product(like, 1, size), 512, device) / 4,
            "packed": max(batch - multiply_add, 0) * ROWS / 4,
            "tiles": tile,
            "stages": _grown(lambda size: _stages(like, size), 2**10, device, 80 * call),
            "far stages": _far_stages(like),
            "scattered": _grown(lambda size: _scattered(like, size), 2**12, device),
        }
        compiler = compiler_for(like)
        compiled = _looked_up() if compiler == "numba" else {}
        return found | _gathered(like) | compiled | (_drawn(like) if compiler == "triton" else {})


def _product(like: Tensor, rows: int, outputs: int) -> tuple[Callable[[], object], int]:
    """Return a product with a matrix, and its multiply-adds."""
    x, matrix = like.new_ones(rows, 2048), like.new_ones(2048, outputs)
    return lambda: x @ matrix, rows * matrix.numel()


def _stages(like: Tensor, n: int) -> tuple[Callable[[], object], int]:
    """Return a Walsh-Hadamard transform, and its numbers times its stages."""
    x = like.new_ones(ROWS, n)
    return lambda: transform(x), ROWS * n * stages(n)


def _far_stages(like: Tensor) -> float:
    """Return the seconds of a number's stage if not even one row fits in the cache."""
    x = like.new_ones(1, CACHE)
    return _fastest(lambda: transform(x), like.device) / (x.numel() * stages(x.numel()))


def stages(n: int) -> int:
    """Return the number of matrix products in a transform."""
    return -(-(n.bit_length() - 1) // BITS)


def _scattered(like: Tensor, width: int) -> tuple[Callable[[], object], int]:
    """Return sums of inputs into buckets, and their number."""
    x, bucket = like.new_ones(ROWS, width), torch.arange(width, device=like.device) % 1024
    return lambda: like.new_zeros(ROWS, 1024).index_add(-1, bucket, x), ROWS * width


def _gathered(like: Tensor) -> dict[str, float]:
    """Return the seconds for an entry of a sparse matrix, and additionally for each row."""
    width, each, outputs = 4096, 1024, 1024
    places = torch.arange(each * outputs, device=like.device) * 4 % width
    starts = torch.arange(outputs + 1, device=like.device) * each
    values = like.new_ones(len(places))

    def seconds(rows: int) -> float:
        x = like.new_ones(width, rows)
        bag = partial(F.embedding_bag, mode="sum", include_last_offset=True)
        return _fastest(lambda: bag(places, x, starts, per_sample_weights=values), like.device)

    one, many = seconds(1) / len(places), seconds(33) / len(places)
    row = max(many - one, 0) / 32
    return {"places": max(one - row, 0), "gathered": row}


def _looked_up() -> dict[str, float]:
    """Return the seconds for 64 signs in the fused loop, and for a look-up of eight."""
    width, block = 4096, BLOCK
    x = torch.ones(1 + ROWS, width)
    one, many = (
        _fastest(lambda some=some: SIGNED_SUMS.form("numba")(1, some, block, False), x.device)  # type: ignore[misc]
        for some in (x[:1], x)
    )
    row = max(many - one, 0) / ROWS
    looked_up = width // 8 * (block + 256)
    return {"words": max(one - row, 0) / (width * block // 64), "look-ups": row / looked_up}


def _drawn(like: Tensor) -> dict[str, float]:
    """Return the seconds of a sign in the GPU kernel, for one row and for a full set of rows."""

    def product(rows: int, outputs: int) -> tuple[Callable[[], object], int]:
        x = like.new_ones(rows, 2048)
        return lambda: SIGNED_SUMS.form("triton")(1, x, outputs, False), 2048 * outputs

    one, many = (_grown(partial(product, rows), 512, like.device) for rows in (1, ROWS_OF_KERNEL))
    return {"drawn": one, "drawn for rows": many}


def _grown(make: Make, size: int, device: torch.device, beside: float = 0) -> float:
    """Return the seconds of a unit of work, which grows until it takes long enough.

    Args:
        make: Returns the timed action and its number of units for a size.
        size: The first size.
        device: The device to measure.
        beside: Fixed seconds at any size, subtracted up to nine tenths of the time.
    """
    while True:
        action, amount = make(size)
        taken = _fastest(action, device)
        if taken > TURN + beside or size >= MOST:
            return max(taken - beside, taken / 10) / amount
        size *= 2


def _fastest(action: Callable[[], object], device: torch.device, times: int = 3) -> float:
    """Return the shortest time of an action in seconds, as disturbances can only slow it down."""
    action()
    found = float("inf")
    for _ in range(times):
        _wait(device)
        begun = time.perf_counter()
        action()
        _wait(device)
        found = min(found, time.perf_counter() - begun)
    return found


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
