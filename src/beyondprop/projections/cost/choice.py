"""Chooses the cheapest projection for given widths on this machine."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch

from beyondprop.errors import UserError
from beyondprop.projections.base import Projection
from beyondprop.projections.checks import check_widths
from beyondprop.projections.cost.memory import ROOM, free_bytes, size
from beyondprop.projections.cost.rates import rates
from beyondprop.projections.cost.work import FORMULAS, work
from beyondprop.projections.dense import Dense
from beyondprop.projections.hadamard import Hadamard
from beyondprop.projections.low_rank import LowRank
from beyondprop.projections.signs import Signs
from beyondprop.projections.sketched import Sketched
from beyondprop.projections.sparse import Sparse
from beyondprop.projections.streamed import Streamed
from beyondprop.text.devices import unusable

ProjectionMaker = Callable[..., Projection]

UNSTRUCTURED: tuple[ProjectionMaker, ...] = (Dense, Signs, Streamed)
FULL: tuple[ProjectionMaker, ...] = (*UNSTRUCTURED, Hadamard)
ALL: tuple[ProjectionMaker, ...] = (*FULL, Sketched, Sparse, LowRank)


@dataclass(frozen=True)
class ProjectionCost:
    """The expected cost of a projection, in float32.

    Attributes:
        projection: The projection.
        seconds: The time of one projection of the batch, after the first, which draws numbers.
        stored: Bytes stored between projections.
        peak: The peak in bytes while it is drawn and used, including the batch's input and output.
    """

    projection: Projection
    seconds: float
    stored: int
    peak: int


def choose(
    in_features: int,
    out_features: int,
    batch: int = 1,
    device: str | torch.device = "cpu",
    kinds: Sequence[ProjectionMaker] = FULL,
    seed: int = 0,
    memory: int | None = None,
) -> Projection:
    """Return the projection that is expected to be the fastest among those that fit in memory.

    Args:
        in_features: Width of the input.
        out_features: Width of the output.
        batch: The number of inputs projected together.
        device: The device of the inputs.
        kinds: The kinds to choose from, each called with ``seed=``: classes, or with other
            settings, for example, ``functools.partial(Dense, shared=True)``. By default those of
            full rank: `Dense`, `Signs`, `Streamed` and `Hadamard`. In a tie, the first is chosen.
        seed: The seed of the chosen projection.
        memory: Bytes that it may use, including input and output; by default half of the free
            memory.

    Raises:
        UserError: No projection fits, or the widths, the batch, the device, a kind, the seed or the
            memory cannot be used.
    """
    table = costs(in_features, out_features, batch, device, kinds, seed)
    limit = free_bytes(torch.device(device)) * ROOM.share if memory is None else _bytes(memory)
    return first_that_fits(table, in_features, out_features, batch, limit).projection


def first_that_fits(
    table: Sequence[ProjectionCost], m: int, n: int, batch: int, limit: float
) -> ProjectionCost:
    """Return the first cost, among projections from ``m`` to ``n``, that fits in memory.

    Raises:
        UserError: No projection fits.
    """
    for cost in table:
        if cost.peak <= limit:
            return cost
    least = min(table, key=lambda cost: cost.peak)
    raise UserError(
        f"no projection from {m:,} to {n:,} numbers, batch {batch}, fits in {size(limit)}: "
        f"{least.projection.name} takes the least, {size(least.peak)}; use a smaller "
        "batch, other kinds or more memory"
    )


def costs(
    in_features: int,
    out_features: int,
    batch: int = 1,
    device: str | torch.device = "cpu",
    kinds: Sequence[ProjectionMaker] = ALL,
    seed: int = 0,
) -> list[ProjectionCost]:
    """Return the expected cost of each kind, fastest first, whether or not it fits in memory.

    The work of each is counted; the time of a unit of work is measured on the device at the first
    call in a process (and again for another number of threads), in a fraction of a second.

    Args:
        in_features: Width of the input.
        out_features: Width of the output.
        batch: The number of inputs projected together.
        device: The device of the inputs.
        kinds: As for `choose`; by default all that have a formula.
        seed: The seed of the projections.

    Raises:
        UserError: The widths, the batch, the device, a kind or the seed cannot be used.
    """
    for count in (in_features, out_features, batch):
        if not isinstance(count, int) or isinstance(count, bool):
            raise UserError(f"widths and batch are whole numbers, not {count!r}: use int()")
    check_widths(in_features, out_features)
    if batch < 1:
        raise UserError(f"a batch is at least 1, not {batch}")
    projections = _made(kinds, seed)
    place = usable(device)
    found = [cost_of(each, in_features, out_features, batch, place) for each in projections]
    return sorted(found, key=lambda cost: cost.seconds)


def _made(kinds: Any, seed: int) -> list[Projection]:
    """Return a projection of each kind.

    Raises:
        UserError: There are no kinds, or a kind or the seed cannot be used.
    """
    if not isinstance(kinds, Collection):
        raise UserError(f"kinds= is a list, such as [Dense, Signs], not {kinds!r}")
    if not kinds:
        raise UserError("there is nothing to choose from: give at least one of kinds=")
    for kind in kinds:
        if not callable(kind):
            raise UserError(
                f"kinds= takes classes, such as Dense, or for other settings "
                f"functools.partial(Dense, shared=True), not {kind!r}"
            )
    return [kind(seed=seed) for kind in kinds]


def _bytes(memory: Any) -> float:
    """Return a number of bytes.

    Raises:
        UserError: The argument is not a number of bytes.
    """
    found = float(memory) if isinstance(memory, Real) else -1.0
    if not found >= 0:
        raise UserError(f"memory= is a number of bytes, such as 10**9, not {memory!r}")
    return found


def cost_of(
    projection: Projection, m: int, n: int, rows: int, device: torch.device
) -> ProjectionCost:
    """Return the expected cost of projecting this many rows from ``m`` to ``n`` numbers.

    Raises:
        UserError: The work of this kind is not known.
    """
    needed = work(projection, m, n, rows, device)
    if needed is None:
        names = ", ".join(each.__name__ for each in FORMULAS)
        raise UserError(f"the work of {projection} is not known, only that of {names}")
    known = rates(device, torch.get_num_threads())
    seconds = sum(known[unit] * amount for unit, amount in needed.amounts.items())
    return ProjectionCost(projection, seconds, needed.stored, needed.peak + 4 * rows * (m + n))


def usable(device: str | torch.device) -> torch.device:
    """Return a device, after checking that it can be used.

    Raises:
        UserError: The device cannot be used here.
    """
    try:
        place = torch.device(device)
        torch.ones(1, device=place).add(1).tolist()
        return place
    except TypeError:
        raise UserError(
            f"a device is a name, such as 'cpu', or a torch.device, not {device!r}"
        ) from None
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise unusable(str(device), error) from None
