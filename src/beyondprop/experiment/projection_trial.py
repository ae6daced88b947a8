"""A trial of a projection for the command line: time, memory, errors and energy."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import torch

from beyondprop.errors import UserError
from beyondprop.jobs.progress import bar, bars
from beyondprop.projections import (
    ALL,
    FULL,
    PROJECTIONS,
    ProjectionCost,
    costs,
)
from beyondprop.projections.cost import memory as free_memory
from beyondprop.projections.cost import trial
from beyondprop.projections.cost.choice import (
    ProjectionMaker,
    cost_of,
    first_that_fits,
    usable,
)
from beyondprop.projections.cost.memory import size as size

ROUNDS, BUDGET, LONG = 5, 10.0, 2.0
NamedLines = list[tuple[str, str]]


def project(
    inputs: int,
    outputs: int,
    batch: int,
    kind: str | None,
    seed: int,
    device: str,
    memory: int | None,
    watts: float | None,
) -> NamedLines:
    """Project a batch a few times, and return the figures, as lines with a name and a text.

    Raises:
        UserError: The kind or the device is unknown, or the projection does not fit in memory.
    """
    place = usable(device)
    table = costs(inputs, outputs, batch, place, kinds(kind), seed)
    limit = free_memory.free_bytes(place) * free_memory.ROOM.share if memory is None else memory
    cost = first_that_fits(table, inputs, outputs, batch, limit)
    count = torch.get_num_threads()
    where = f", {count} thread{'s' * (count > 1)}" if place.type == "cpu" else ""
    about = f"{inputs:,} to {outputs:,} float32 numbers, batch {batch}, {device}{where}"
    said = [("projection", f"{cost.projection.name}, seed {seed}: {about}")]
    if kind is None:
        said.append(("chosen among", "; ".join(guide(each, limit) for each in table)))
    seconds, part = timed(cost, inputs, outputs, batch, place)
    found = "median" if part == outputs else f"extrapolated from the first {part:,} outputs, median"
    predicted = f"{found} of several rounds; predicted {duration(cost.seconds)}"
    said.append(("time", f"{duration(seconds)} ({predicted})"))
    matrix = f"the matrix has {inputs * outputs:,} entries, {size(4 * inputs * outputs)}"
    kept = f"{size(cost.stored)} stored, {size(cost.peak)} at the peak (by count)"
    said.append(("memory", f"{kept}; {matrix}"))
    if watts is not None:
        said.append(("energy", f"{watts * seconds:.3g} J per batch, at a constant {watts:g} W"))
    return said + kept_well(cost, inputs, outputs, place, limit)


def kinds(name: str | None) -> Sequence[ProjectionMaker]:
    """Return the kinds to choose among.

    Raises:
        UserError: The kind is unknown, or its cost is not known.
    """
    if name is None:
        return FULL
    known = [each for each in ALL if each is PROJECTIONS.entry(name)] if name in PROJECTIONS else []
    if not known:
        names = ", ".join(n for n in PROJECTIONS if PROJECTIONS.entry(n) in ALL)
        raise UserError(f"unknown kind '{name}'; there are {names}")
    return known


def guide(cost: ProjectionCost, limit: float) -> str:
    """Return the predicted time of a kind, and whether it fits in memory."""
    fits = "" if cost.peak <= limit else ", does not fit"
    return f"{cost.projection.name} {duration(cost.seconds)}{fits}"


def timed(
    cost: ProjectionCost, inputs: int, outputs: int, batch: int, device: torch.device
) -> tuple[float, int]:
    """Return the seconds of a batch, and the number of outputs that were timed."""
    part = trial.outputs_within(cost.projection, inputs, outputs, batch, device)
    expected = cost.seconds * part / outputs
    rounds = max(1, min(ROUNDS, int(BUDGET / max(expected, 1e-9))))
    x = torch.ones(batch, inputs, device=device)
    seconds = []
    with bars() as progress:
        shown = rounds * expected > LONG
        with bar(progress, cost.projection.name, rounds) as task:
            progress.update(task, visible=shown)
            for taken in trial.turns(cost.projection, x, part, rounds):
                seconds.append(taken)
                progress.advance(task)
    return statistics.median(seconds) * outputs / part, part


def kept_well(
    cost: ProjectionCost, inputs: int, outputs: int, device: torch.device, limit: float
) -> NamedLines:
    """Return the lines on errors."""
    a, b = min(inputs, trial.SAMPLE[0]), min(outputs, trial.SAMPLE[1])
    off = trial.rounding(cost.projection, a, b, device)
    said = [
        (
            "rounding",
            f"error {off:.1e} relative to the product in float64, at {a:,} to {b:,} numbers",
        )
    ]
    # One more than the projected vectors: their common part is drawn as an additional vector.
    more = cost_of(cost.projection, inputs, outputs, trial.VECTORS + 1, device)
    if more.peak > limit:
        return [*said, ("norms", f"not tried: {trial.VECTORS} vectors need {size(more.peak)}")]
    found = trial.errors(cost.projection, inputs, outputs, device)
    of = f"{trial.VECTORS} vectors at {found.outputs:,} outputs; a Gaussian matrix"
    said.append(("norms", f"error {found.norm:.2%} ({of} {found.norm_gaussian:.2%})"))
    inner = f"error {found.inner:.2%} of the norms (a Gaussian matrix "
    return [*said, ("inner products", f"{inner}{found.inner_gaussian:.2%})")]


def duration(seconds: float) -> str:
    """Return the display text of a duration in seconds."""
    if seconds >= 120:
        return f"{seconds / 60:,.1f} min"
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"
