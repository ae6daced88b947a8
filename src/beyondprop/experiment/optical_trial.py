"""A comparison of a photonic co-processor with electronics for the command line."""

from __future__ import annotations

import torch

from beyondprop.experiment.projection_trial import (
    NamedLines,
    duration,
    guide,
    kinds,
    size,
    timed,
)
from beyondprop.optics import (
    Electronics,
    Link,
    PhotonicCost,
    PhotonicProcessor,
    break_even,
    measured_rate,
    optical_cost,
)
from beyondprop.optics.presets import processor
from beyondprop.optics.trial import errors
from beyondprop.projections import FULL, Dense, costs
from beyondprop.projections.cost import memory as free_memory
from beyondprop.projections.cost.choice import cost_of, first_that_fits
from beyondprop.projections.cost.rates import rates

OUTPUTS, VECTORS, SIDE = 8192, 8, 16384
LINK = Link()
HERE = torch.device("cpu")


def project_by_light(
    inputs: int,
    outputs: int,
    batch: int,
    kind: str | None,
    seed: int,
    memory: int | None,
    watts: float | None,
    preset: str = "lighton-opu",
) -> NamedLines:
    """Return the figures of the preset and of electronics, as lines with a name and a text.

    Raises:
        UserError: A width exceeds the device's limits, the kind is unknown, or none fits.
    """
    device = processor(preset)
    device.check_widths(inputs, outputs, device.retrieval.pixels)
    chip = electronics(batch, watts)
    light = optical_cost(device, chip, LINK, batch, inputs, outputs)
    of = f"{inputs:,} to {outputs:,} numbers, batch {batch}"
    said = [("projection", f"photonic, preset {preset}, simulated, seed {seed}: {of}")]
    said += times(device, chip, light, batch)
    said.append(("energy", energy(device, light, watts)))
    said.append(("error", wrong(device, inputs, outputs, seed)))
    said.append(("memory", held(device, inputs, outputs, batch)))

    table = costs(inputs, outputs, batch, HERE, kinds(kind), seed)
    limit = free_memory.free_bytes(HERE) * free_memory.ROOM.share if memory is None else memory
    best = first_that_fits(table, inputs, outputs, batch, limit)
    seconds, part = timed(best, inputs, outputs, batch, HERE)
    found = "measured here" if part == outputs else f"extrapolated from {part:,} outputs"
    joules = "" if watts is None else f", {watts * seconds:.3g} J at {watts:g} W"
    text = f"{best.projection.name} {duration(seconds)} ({found}){joules}; {size(best.peak)} at the"
    said.append(
        ("electronics", f"{text} peak; predicted: {'; '.join(guide(c, limit) for c in table)}")
    )
    return [*said, ("break-even", even(device, chip, batch, seed))]


def electronics(batch: int, watts: float | None) -> Electronics:
    """Return this machine's rates: for a large dense product, and for one pass over numbers."""
    dense = cost_of(Dense(), SIDE, SIDE, batch, HERE).seconds
    passing = rates(HERE, torch.get_num_threads())["bytes"]
    return Electronics(
        rate=measured_rate(dense, batch, SIDE, SIDE),
        power=1.0 if watts is None else watts,  # without watts no energy of it is reported
        simple_rate=2 / (4 * passing),  # two operations for each float32 number
    )


def times(
    device: PhotonicProcessor, chip: Electronics, light: PhotonicCost, batch: int
) -> NamedLines:
    """Return the lines on the device's time."""
    shots = batch * device.shots
    parts = {
        "encoding": light.encode,
        "sending": light.send,
        f"{shots:,} shots": light.shots,
        "receiving": light.receive,
        "recovering": light.recover,
    }
    shown = ", ".join(f"{name} {duration(value)}" for name, value in parts.items())
    rate = f"{device.specification.frame_rate:,.0f} shots per second as published"
    link = f"{LINK.inputs / 1e9:g} GB/s to the device and {LINK.outputs / 1e9:g} GB/s back, assumed"
    simple = f"{chip.simple_rate or chip.rate:.2g} operations per second, measured here"
    given = f"{rate}; a link of {link}; encoding and recovering at {simple}"
    return [("time", f"{duration(light.seconds)} ({shown})"), ("", f"computed, not run: {given}")]


def energy(device: PhotonicProcessor, light: PhotonicCost, watts: float | None) -> str:
    """Return the text on energy."""
    power = device.specification.power
    shining = (light.send + light.shots + light.receive) * power
    text = f"{shining:.3g} J per batch for the optics, at {power:g} W as published"
    if watts is None:
        return f"{text}; pass --watts to include encoding and recovery"
    rest = (light.encode + light.recover) * watts
    return f"{text}, and {rest:.3g} J for the electronics, at {watts:g} W"


def wrong(device: PhotonicProcessor, inputs: int, outputs: int, seed: int) -> str:
    """Return the text on the error."""
    x = torch.randn(VECTORS, inputs, generator=torch.Generator().manual_seed(seed))
    found = errors(device, x, min(outputs, OUTPUTS), seed)
    whole = f"{found.whole:.1%} relative to the exact product, cosine {found.cosine:.3f}"
    alone = f"ternary encoding alone {found.encoding:.1%}, light alone {found.light:.1%}"
    sample = f"{VECTORS} Gaussian vectors of full width, {found.outputs:,} of {outputs:,} outputs"
    return f"{whole}; {alone} (simulated: {sample})"


def held(device: PhotonicProcessor, inputs: int, outputs: int, batch: int) -> str:
    """Return the text on memory."""
    frames = batch * device.encoder.frames * -(-inputs // 8)
    pictures = batch * device.shots * outputs * device.retrieval.pixels
    matrix = f"of {inputs * outputs:,} entries, {size(4 * inputs * outputs)}"
    return f"{size(frames)} of frames, {size(pictures)} of pictures; no matrix {matrix}, is stored"


def even(device: PhotonicProcessor, chip: Electronics, batch: int, seed: int) -> str:
    """Return the text on the widths from which light is as fast as electronics."""
    most = min(device.specification.max_inputs, device.specification.max_outputs)
    never = f"for no n up to {most:,}"
    dense = break_even(device, chip, LINK, batch)
    text = f"from n to n numbers, light is as fast as a dense product {from_(dense, never)}"

    def wins(n: int) -> bool:
        other = min(each.seconds for each in costs(n, n, batch, HERE, FULL, seed))
        return optical_cost(device, chip, LINK, batch, n, n).seconds <= other

    first = next((2**k for k in range(most.bit_length()) if wins(2**k)), None)
    return f"{text}, and as the cheapest projection without light {from_(first, never)}"


def from_(side: int | None, never: str) -> str:
    """Return the text for a smallest width, or ``never`` if there is none."""
    return never if side is None else f"for n >= {side:,}"
