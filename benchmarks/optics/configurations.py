"""Configurations of direct feedback alignment by name: what carries the error.

Each effect of a photonic co-processor is simulated alone, on an otherwise ideal device: any
amplitude, a perfect camera, four-step holography.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import beyondprop as bp
from beyondprop.optics import (
    Anchors,
    BitPlanes,
    Camera,
    OffAxis,
    PhaseShifting,
    PhotonicProcessor,
    PhotonicProjection,
    Scattering,
    Ternary,
    UnevenTernary,
    ideal,
    lighton_opu,
)
from beyondprop.projections import Dense
from beyondprop.rules import Rule

Configuration = Callable[[int], Rule]

PHOTONS, WELL = 1000.0, 10_000.0
"""Exposure and full well of the cameras that saturate or round, in electrons, as in the preset."""


def exact(seed: int) -> Rule:
    """Return direct feedback alignment with one stored matrix for all layers."""
    return bp.DirectFeedbackAlignment(Dense(seed=seed, shared=True))


def by_light(seed: int, device: PhotonicProcessor) -> Rule:
    """Return direct feedback alignment with a photonic co-processor."""
    return bp.DirectFeedbackAlignment(PhotonicProjection(seed=seed, device=device))


def light(**parts: Any) -> Configuration:
    """Return a configuration with a device with these parts, otherwise ideal."""
    return partial(by_light, device=replace(ideal(), **parts))


def camera(**figures: Any) -> Configuration:
    """Return a configuration with an ideal device except for these figures of the camera."""
    return light(camera=Camera(**{"photons": PHOTONS, **figures}))


CONTROLS: dict[str, Configuration] = {
    "backprop": lambda _: bp.Backprop(),
    "exact": exact,
    "frozen": lambda _: bp.Frozen(),
}
"""Controls with a learning rate chosen on the validation split; all light uses that of `exact`."""

TABLE: dict[str, Configuration] = {
    "ideal": light(),
    "ternary, threshold 0.75": light(encoder=Ternary(0.75)),
    "lighton-opu": partial(by_light, device=lighton_opu()),
    "lighton-opu, uneven ternary": partial(
        by_light, device=replace(lighton_opu(), encoder=UnevenTernary())
    ),
    "lighton-opu, four-step holography": partial(
        by_light, device=replace(lighton_opu(), retrieval=PhaseShifting())
    ),
    "uneven ternary, threshold 0.25": light(encoder=UnevenTernary(0.25)),
    "2 bit planes": light(encoder=BitPlanes(2)),
    "shot noise, 1000 photons": camera(shot_noise=True),
    "shot noise, 10 photons": camera(photons=10.0, shot_noise=True),
    "read noise, 8 electrons of 1000": camera(read_noise=8.0),
    "full well, 10 times the mean": camera(full_well=WELL),
    "full well, twice the mean": camera(full_well=2 * PHOTONS),
    "8 bits": camera(full_well=WELL, bits=8),
    "1% hot pixels": camera(full_well=WELL, hot=0.01),
    "drift, lifetime 1e7 shots": light(scattering=Scattering(lifetime=1e7)),
    "instability, 0.1% of the light": light(scattering=Scattering(instability=1e-3)),
    "instability, 5% of the light": light(scattering=Scattering(instability=0.05)),
    "phase noise, 0.1 radian": light(retrieval=PhaseShifting(phase_noise=0.1)),
    "three-step holography": light(retrieval=PhaseShifting(3)),
    "off-axis holography": light(retrieval=OffAxis()),
    "four anchors": light(retrieval=Anchors()),
}

SWEEPS: dict[str, dict[float, str]] = {
    "camera bits": {b: f"{b} bits" for b in (1, 2, 3, 4, 6, 8)},
    "photons per pixel": {
        p: f"shot noise, {p:g} photons" for p in (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)
    },
    "threshold, one magnitude": {
        t: f"ternary, threshold {t:g}" for t in (0.0, 0.25, 0.5, 0.75, 0.99)
    },
    "threshold, one a sign": {
        t: f"uneven ternary, threshold {t:g}" for t in (0.0, 0.25, 0.5, 0.75, 0.99)
    },
    "lifetime, shots": {
        n: f"drift, lifetime 1e{k} shots" for k, n in ((k, 10.0**k) for k in range(2, 8))
    },
}
"""The name of a configuration by the value of one figure of the device."""


def swept() -> dict[str, Configuration]:
    """Return the configurations of all sweeps."""
    bits, photons, one, each, lifetimes = SWEEPS.values()
    return {
        **{name: camera(full_well=WELL, bits=int(b)) for b, name in bits.items()},
        **{name: camera(photons=p, shot_noise=True) for p, name in photons.items()},
        **{name: light(encoder=Ternary(t)) for t, name in one.items()},
        **{name: light(encoder=UnevenTernary(t)) for t, name in each.items()},
        **{name: light(scattering=Scattering(lifetime=n)) for n, name in lifetimes.items()},
    }


CONFIGURATIONS: dict[str, Configuration] = {**CONTROLS, **TABLE, **swept()}
"""Every configuration by its name."""
