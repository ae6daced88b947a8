"""The cost of light by a device's figures, compared with electronics as measured here.

    python -m benchmarks.optics.cost --threads 2

The projection of n numbers to n by the preset `lighton-opu`: sending, shots and receiving by the
published figures and an assumed link, encoding and recovering at a rate measured here. It is
compared with a dense product (measured if the matrix fits, otherwise computed from the measured
rate) and with `Hadamard`, measured. Then a complete step of direct feedback alignment through two
hidden layers of n, with n classes: the forward passes, the activations, the gradients and the
update remain electronic, in time and in energy, at a given power.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks.common.command_line import command_line
from benchmarks.common.records import save
from benchmarks.common.tables import Table, number
from beyondprop.experiment.optical_trial import LINK, electronics
from beyondprop.experiment.projection_trial import timed
from beyondprop.jobs.progress import bar, bars
from beyondprop.optics import (
    Electronics,
    PhotonicCost,
    StepCost,
    break_even,
    electronic_cost,
    lighton_opu,
    optical_cost,
    step_cost,
)
from beyondprop.projections import Dense, Hadamard
from beyondprop.projections.cost.choice import cost_of

SIDES = 2**10, 2**12, 2**14, 2**16, 2**18, 1_000_000
BATCHES = 1, 64
FITS = 2**14
"""The widest dense matrix that is measured: 1 GB."""

HERE = torch.device("cpu")


def main(
    threads: int = 2, watts: float = 100.0, output: Path = Path("results/optics/cost.json")
) -> None:
    """Compare the time and the energy of light and electronics.

    Args:
        threads: CPU threads.
        watts: The power of the electronics under load: assumed, not measured.
        output: The file of the record; the table is written next to it.
    """
    started = datetime.now(UTC)
    torch.set_num_threads(threads)
    rows = []
    with bars() as progress, bar(progress, "costs", len(BATCHES) * len(SIDES)) as shown:
        for batch in BATCHES:
            chip = electronics(batch, watts)
            for side in SIDES:
                rows.append(row(chip, batch, side))
                progress.advance(shown)
            rows.append(even(chip, batch))
    save("optics/cost", {"threads": threads, "watts": watts}, rows, table(rows), started, output)


def row(chip: Electronics, batch: int, side: int) -> dict[str, Any]:
    """Return the costs of one size."""
    light = optical_cost(lighton_opu(), chip, LINK, batch, side, side)
    power = lighton_opu().specification.power
    dense, measured = electronic_cost(chip, batch, side, side), side <= FITS
    if measured:
        dense = timed_cost(Dense(), chip, batch, side)
    fast = timed_cost(Hadamard(), chip, batch, side)
    steps: dict[str, StepCost] = {
        name: step_cost(cost, chip, batch, (side,) * 4)
        for name, cost in {"light": light, "dense": dense, "hadamard": fast}.items()
    }
    return {
        "part": "size",
        "side": side,
        "batch": batch,
        "shots": batch * lighton_opu().shots,
        "light_seconds": light.seconds,
        "light_parts": {p: getattr(light, p) for p in PARTS},
        "light_joules": (light.send + light.shots + light.receive) * power,
        "dense_seconds": dense.seconds,
        "dense_measured": measured,
        "hadamard_seconds": fast.seconds,
        "step_seconds": {name: step.seconds for name, step in steps.items()},
        "step_joules": {name: step.joules for name, step in steps.items()},
        "light_share": light.seconds / steps["light"].seconds,
    }


PARTS = "encode", "send", "shots", "receive", "recover"


def timed_cost(
    projection: Dense | Hadamard, chip: Electronics, batch: int, side: int
) -> PhotonicCost:
    """Return the measured seconds of a projection, with its joules at the electronics' power."""
    seconds = timed(cost_of(projection, side, side, batch, HERE), side, side, batch, HERE)[0]
    return PhotonicCost(product=seconds, joules=seconds * chip.power)


def even(chip: Electronics, batch: int) -> dict[str, Any]:
    """Return the widths from which light is as fast, and uses as little energy, as a dense product.

    All else in a step is equal for both, so these widths also hold for a step.
    """
    figures = {"rate": chip.rate, "simple_rate": chip.simple_rate, "watts": chip.power}
    figures |= {"side": break_even(lighton_opu(), chip, LINK, batch)}
    figures |= {"joules_side": even_in_joules(chip, batch)}
    return {"part": "break-even", "batch": batch, **figures}


def even_in_joules(chip: Electronics, batch: int) -> int | None:
    """Return the smallest n for which light needs no more energy than a dense product, or None."""

    def wins(side: int) -> bool:
        light = optical_cost(lighton_opu(), chip, LINK, batch, side, side)
        return light.joules <= electronic_cost(chip, batch, side, side).joules

    limits = lighton_opu().specification
    most = min(limits.max_inputs, limits.max_outputs // lighton_opu().retrieval.pixels)
    return least(wins, most)


def least(wins: Callable[[int], bool], most: int) -> int | None:
    """Return the smallest winning number up to `most`, if all above a winner win, too."""
    if not wins(most):
        return None
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if wins(middle) else (middle, high)
    return high


def table(rows: list[dict[str, Any]]) -> Table:
    """Return the rows as a table."""
    return Table(
        title="Light, from published figures, compared with electronics as measured",
        columns=(
            "n to n",
            "batch",
            "light, ms",
            "shots / light",
            "light, J",
            "dense, ms",
            "Hadamard, ms",
            "light / dense",
            "step by light / by dense",
            "the same in J",
        ),
        rows=[tuple(cells(one)) for one in rows if one["part"] == "size"],
        notes=tuple(notes(rows)),
    )


def cells(one: dict[str, Any]) -> Iterator[str]:
    """Yield the cells of one size."""
    dense = milliseconds(one["dense_seconds"])
    yield f"{one['side']:,}"
    yield str(one["batch"])
    yield milliseconds(one["light_seconds"])
    yield number(one["light_parts"]["shots"] / one["light_seconds"], ".0%")
    yield number(one["light_joules"], ".3g")
    yield dense if one["dense_measured"] else f"{dense} (counted)"
    yield milliseconds(one["hadamard_seconds"])
    yield number(one["light_seconds"] / one["dense_seconds"], ".2g")
    yield number(one["step_seconds"]["light"] / one["step_seconds"]["dense"], ".2f")
    yield number(one["step_joules"]["light"] / one["step_joules"]["dense"], ".2g")


def milliseconds(seconds: float) -> str:
    """Return a time in milliseconds, with three digits, or rounded to a whole number."""
    return format(seconds * 1000, ",.0f" if seconds >= 0.1 else ".3g")


def notes(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the notes below the table."""
    yield (
        "Light: computed from the published frame rate and power and an assumed link of 1 GB/s; no "
        "optical hardware was used. Light, J: the optics alone. Counted: at the measured rate of a "
        "dense product, because its matrix does not fit. A step: direct feedback alignment with "
        "three layers n to n and one projection for all. The step includes the electronic work, "
        "which is the same in all columns except for encoding and recovering, so steps break even "
        "at the same size as projections."
    )
    evens = [one for one in rows if one["part"] == "break-even"]
    for watts in dict.fromkeys(one["watts"] for one in evens):
        yield (
            f"Joules: each device while it works, with an assumed {watts:g} W for the electronics. "
            "Power drawn while one waits for the other is not counted."
        )
    for one in evens:
        fast, frugal = (begins(one[name]) for name in ("side", "joules_side"))
        yield (
            f"Batch {one['batch']}: light is as fast as a dense product {fast}, and uses no more "
            f"energy {frugal}."
        )


def begins(side: int | None) -> str:
    """Return from which size something holds, if it does."""
    return "never" if side is None else f"from n = {side:,} on"


if __name__ == "__main__":
    command_line(main)
