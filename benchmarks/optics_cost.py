"""What light would cost by a device's figures, beside what electronics take here.

    python benchmarks/optics_cost.py --threads 2

The projection of n numbers to n by the preset `lighton-opu`: sending, shots and receiving by the
published figures and an assumed link, encoding and recovering at a rate measured here. Beside it a
dense product (measured where the matrix fits, else counted at the measured rate) and `Hadamard`,
measured. Then a whole step of direct feedback alignment through two hidden layers of n, with n
classes: the passes forward, the activations, the gradients and the update stay electronic.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from results import Sheet, command_line, number, save

from beyondprop.experiment.progress import bar, bars
from beyondprop.experiment.projecting import timed
from beyondprop.experiment.projecting_opu import LINK, electronics
from beyondprop.optics import (
    Cost,
    Electronics,
    break_even,
    electronic_cost,
    lighton_opu,
    optical_cost,
    step_cost,
)
from beyondprop.projections import Dense, Hadamard
from beyondprop.projections.choice import cost_of

SIDES = 2**10, 2**12, 2**14, 2**16, 2**18, 1_000_000
BATCHES = 1, 64
FITS = 2**14
"""The widest dense matrix that is measured: of 1 GB."""

HERE = torch.device("cpu")


def main(threads: int = 2, output: Path = Path("results/optics_cost.json")) -> None:
    """Set light's time and energy beside electronics'.

    Args:
        threads: CPU threads.
        output: Where the record goes; the table goes beside it.
    """
    started = datetime.now(UTC)
    torch.set_num_threads(threads)
    rows = []
    with bars() as progress, bar(progress, "costs", len(BATCHES) * len(SIDES)) as shown:
        for batch in BATCHES:
            chip = electronics(batch, None)
            for side in SIDES:
                rows.append(row(chip, batch, side))
                progress.advance(shown)
            rows.append(even(chip, batch))
    save("optics_cost", {"threads": threads}, rows, sheet(rows), started, output)


def row(chip: Electronics, batch: int, side: int) -> dict[str, Any]:
    """Return the costs of one size."""
    light = optical_cost(lighton_opu(), chip, LINK, batch, side, side)
    power = lighton_opu().specification.power
    dense, measured = electronic_cost(chip, batch, side, side), side <= FITS
    if measured:
        dense = Cost(product=seconds_of(Dense(), batch, side))
    fast = Cost(product=seconds_of(Hadamard(), batch, side))
    step = {
        name: step_cost(cost, chip, batch, (side,) * 4).seconds
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
        "step_seconds": step,
        "light_share": light.seconds / step["light"],
    }


PARTS = "encode", "send", "shots", "receive", "recover"


def seconds_of(projection: Dense | Hadamard, batch: int, side: int) -> float:
    """Return the measured seconds of a projection."""
    return timed(cost_of(projection, side, side, batch, HERE), side, side, batch, HERE)[0]


def even(chip: Electronics, batch: int) -> dict[str, Any]:
    """Return from which width on light is as fast as a dense product."""
    side = break_even(lighton_opu(), chip, LINK, batch)
    rates = {"rate": chip.rate, "simple_rate": chip.simple_rate}
    return {"part": "break-even", "batch": batch, "side": side, **rates}


def sheet(rows: list[dict[str, Any]]) -> Sheet:
    """Return the rows as a table."""
    return Sheet(
        title="Light by its figures, beside electronics as measured",
        columns=(
            "n to n",
            "batch",
            "light, ms",
            "shots / light",
            "joules",
            "dense, ms",
            "Hadamard, ms",
            "light / dense",
            "step by light / by dense",
        ),
        rows=[tuple(cells(one)) for one in rows if one["part"] == "size"],
        notes=tuple(notes(rows)),
    )


def cells(one: dict[str, Any]) -> Iterator[str]:
    """Yield a size's cells."""
    dense = number(one["dense_seconds"] * 1000, ",.3g")
    yield f"{one['side']:,}"
    yield str(one["batch"])
    yield number(one["light_seconds"] * 1000, ",.3g")
    yield number(one["light_parts"]["shots"] / one["light_seconds"], ".0%")
    yield number(one["light_joules"], ".3g")
    yield dense if one["dense_measured"] else f"{dense} (counted)"
    yield number(one["hadamard_seconds"] * 1000, ",.3g")
    yield number(one["light_seconds"] / one["dense_seconds"], ".2g")
    yield number(one["step_seconds"]["light"] / one["step_seconds"]["dense"], ".2f")


def notes(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield what must be known to read the table."""
    yield (
        "Light: by the published frame rate and power and an assumed link of 1 GB/s; nothing ran "
        "by light. Joules: of the light alone. Counted: at the measured rate of a dense product, "
        "as its matrix does not fit. A step: of three layers n to n by direct feedback alignment, "
        "one projection for all."
    )
    for one in rows:
        if one["part"] == "break-even":
            side = "never" if one["side"] is None else f"from n = {one['side']:,} on"
            yield f"Batch {one['batch']}: light is as fast as a dense product {side}."


if __name__ == "__main__":
    command_line(main)
