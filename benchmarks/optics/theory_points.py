"""What `theory.py` compares: each effect alone, as simulated and by its formula."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch

from benchmarks.optics import formulas as theory
from beyondprop.optics import (
    Anchors,
    Bench,
    Camera,
    Medium,
    OffAxis,
    PhaseShifting,
    Retrieval,
    Scattering,
)

INPUTS, OUTPUTS, ROWS = 64, 4000, 40
KINDS = {
    "three steps": PhaseShifting(3),
    "four steps": PhaseShifting(4),
    "off-axis": OffAxis(),
    "four anchors": Anchors(4),
}
PHOTONS = (10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 3e4, 1e5)
EXPOSURE = 1000.0
DEEP = 40 * EXPOSURE
"""A full well that next to no light reaches."""

BEAMS = {"no reference": 0.0, "reference beam": 1.0, "anchor": 2.0}
"""Beside the data: intensity of a steady beam; an anchor's speckle makes one of twice the power."""


@dataclass(frozen=True)
class Point:
    """One figure of the device.

    Attributes:
        part: What is off or on.
        way: How the field is recovered, or what is looked at.
        at: The figure.
        seen: Seed to what was measured and what theory says.
    """

    part: str
    way: str
    at: float
    seen: Callable[[int], tuple[float, float]]


def points() -> list[Point]:
    """Return all that is compared."""
    found = []
    for way, kind in KINDS.items():
        for photons in PHOTONS:
            camera = Camera(photons=photons, shot_noise=True)
            found.append(Point("photons", way, photons, noisy(kind, camera)))
        for bits in (4, 6, 8, 10, 12):
            camera = Camera(photons=EXPOSURE, full_well=DEEP, bits=bits)
            found.append(Point("bits", way, bits, noisy(kind, camera)))
        for read in (1.0, 10.0, 100.0):
            camera = Camera(photons=EXPOSURE, read_noise=read)
            found.append(Point("read noise", way, read, noisy(kind, camera)))
        camera = Camera(EXPOSURE, True, read_noise=8.0, full_well=DEEP, bits=8)
        found.append(Point("all three", way, EXPOSURE, noisy(kind, camera)))
    for well in (1.0, 2.0, 4.0, 6.0, 8.0, 10.0):
        found += [Point("clipped share", who, well, share(who, well)) for who in BEAMS]
        foreseen = theory.clipping(well, 1.0, 4)
        camera = Camera(photons=EXPOSURE, full_well=well * EXPOSURE)
        found.append(Point("full well", "four steps", well, changed(camera, foreseen)))
    for off in (0.001, 0.01, 0.1):
        foreseen = theory.unstable(off, 1.0, 4)
        shaking = changed(Camera(), foreseen, Scattering(instability=off))
        found.append(Point("instability", "four steps", off, shaking))
        found.append(Point("hot pixels", "dead outputs", off, hot(off)))
        jitter = changed(Camera(), off / math.sqrt(2), kind=PhaseShifting(4, phase_noise=off))
        found.append(Point("phase noise", "four steps", off, jitter))
    return found + [Point("drift", "medium", t, drift(t)) for t in (0.1, 0.5, 1.0, 2.0, 3.0)]


def bench(seed: int, camera: Camera, scattering: Scattering | None = None) -> Bench:
    """Return frames in the light."""
    medium = sample(scattering or Scattering(), seed)
    generator = torch.Generator().manual_seed(seed)
    order = torch.rand(ROWS, INPUTS, generator=generator).argsort(1)
    frames = (order < INPUTS // 2).double()
    power = frames.sum(1, keepdim=True) * 2 / OUTPUTS
    typical = INPUTS / OUTPUTS
    return Bench(medium.carry(frames, 0), power, typical, medium, 0, camera, generator, seed)


@lru_cache(maxsize=8)
def sample(scattering: Scattering, seed: int) -> Medium:
    """Return a medium, which keeps its matrix."""
    return Medium(scattering, seed, 0, INPUTS, OUTPUTS, torch.float64, torch.device("cpu"))


def wrong(kind: Retrieval, lit: Bench) -> float:
    """Return the error of what is recovered."""
    return float((kind.recover(lit) - lit.field).real.norm() / lit.field.real.norm())


def noisy(kind: Retrieval, camera: Camera) -> Callable[[int], tuple[float, float]]:
    """Return what compares a camera's noise, reading by reading independent, with theory."""

    def seen(seed: int) -> tuple[float, float]:
        lit = bench(seed, camera)
        electron = lit.typical / camera.photons
        floor = (camera.read_noise**2 + camera.step**2 / 12) * electron**2
        known = lit.medium.anchors(4, 0)[0] * math.sqrt(lit.typical)
        gain = electron if camera.shot_noise else 0.0
        foreseen = theory.real_variance(kind, lit.field, known, lit.typical, gain, floor)
        return wrong(kind, lit), math.sqrt(foreseen / float(lit.field.real.square().mean()))

    return seen


def changed(
    camera: Camera,
    foreseen: float,
    scattering: Scattering | None = None,
    kind: Retrieval | None = None,
) -> Callable[[int], tuple[float, float]]:
    """Return what compares an error of phase shifting with a figure."""
    return lambda seed: (wrong(kind or PhaseShifting(4), bench(seed, camera, scattering)), foreseen)


def share(who: str, well: float) -> Callable[[int], tuple[float, float]]:
    """Return what compares the share of pixels that are clipped with theory."""

    def seen(seed: int) -> tuple[float, float]:
        lit = bench(seed, Camera())
        beside = lit.medium.anchors(4, 0)[1][1] if who == "anchor" else BEAMS[who] ** 0.5
        field = lit.field + beside * math.sqrt(lit.typical)
        over = float((field.abs().square() >= well * lit.typical).double().mean())
        double = who == "anchor"
        return over, theory.clipped(well / 2 if double else well, 0.0 if double else BEAMS[who])

    return seen


def hot(share: float) -> Callable[[int], tuple[float, float]]:
    """Return what compares the share of outputs that four steps find dark with hot pixels'."""

    def seen(seed: int) -> tuple[float, float]:
        lit = bench(seed, Camera(photons=EXPOSURE, full_well=10 * DEEP, hot=share))
        size = PhaseShifting(4).recover(lit).abs().amax(0)
        return float((size < 1e-6 * lit.typical**0.5).double().mean()), share

    return seen


def drift(passed: float) -> Callable[[int], tuple[float, float]]:
    """Return what compares the correlation with the calibrated matrix with its decay."""

    def seen(seed: int) -> tuple[float, float]:
        lit = bench(seed, Camera(), Scattering(lifetime=1.0))
        first, now = lit.medium.matrix(), lit.medium.matrix(passed)
        return float((first.conj() * now).sum().real / first.norm() / now.norm()), math.exp(-passed)

    return seen
