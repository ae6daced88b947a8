"""The points that `theory.py` compares: each effect alone, as simulated and by its formula."""

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
"""A full well that hardly any light reaches."""

BEAMS = {"no reference": 0.0, "reference beam": 1.0, "anchor": 2.0}
"""Intensities of a steady beam in addition to the data; an anchor's speckle has twice the power."""


@dataclass(frozen=True)
class Point:
    """A value of one figure of the device.

    Attributes:
        part: The effect.
        way: The retrieval, or the observed quantity.
        at: The value.
        compare: Returns the measured and the theoretical value for a seed.
    """

    part: str
    way: str
    at: float
    compare: Callable[[int], tuple[float, float]]


def points() -> list[Point]:
    """Return all points."""
    found = []
    for way, kind in KINDS.items():
        for photons in PHOTONS:
            camera = Camera(photons=photons, shot_noise=True)
            found.append(Point("photons", way, photons, camera_noise(kind, camera)))
        for bits in (4, 6, 8, 10, 12):
            camera = Camera(photons=EXPOSURE, full_well=DEEP, bits=bits)
            found.append(Point("bits", way, bits, camera_noise(kind, camera)))
        for read in (1.0, 10.0, 100.0):
            camera = Camera(photons=EXPOSURE, read_noise=read)
            found.append(Point("read noise", way, read, camera_noise(kind, camera)))
        camera = Camera(EXPOSURE, True, read_noise=8.0, full_well=DEEP, bits=8)
        found.append(Point("all three", way, EXPOSURE, camera_noise(kind, camera)))
    for well in (1.0, 2.0, 4.0, 6.0, 8.0, 10.0):
        found += [Point("clipped share", beam, well, share(beam, well)) for beam in BEAMS]
        expected = theory.clipping(well, 1.0, 4)
        camera = Camera(photons=EXPOSURE, full_well=well * EXPOSURE)
        found.append(Point("full well", "four steps", well, holography(camera, expected)))
    for off in (0.001, 0.01, 0.1):
        expected = theory.unstable(off, 1.0, 4)
        unstable = holography(Camera(), expected, Scattering(instability=off))
        found.append(Point("instability", "four steps", off, unstable))
        found.append(Point("hot pixels", "dead outputs", off, hot_pixels(off)))
        jitter = holography(Camera(), off / math.sqrt(2), kind=PhaseShifting(4, phase_noise=off))
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
    """Return a medium that stores its matrix."""
    return Medium(scattering, seed, 0, INPUTS, OUTPUTS, torch.float64, torch.device("cpu"))


def relative_error(kind: Retrieval, setup: Bench) -> float:
    """Return the error of the recovered fields."""
    return float((kind.recover(setup) - setup.field).real.norm() / setup.field.real.norm())


def camera_noise(kind: Retrieval, camera: Camera) -> Callable[[int], tuple[float, float]]:
    """Return a comparison of a camera's noise, independent for each reading, with theory."""

    def compare(seed: int) -> tuple[float, float]:
        setup = bench(seed, camera)
        electron = setup.typical / camera.photons
        floor = (camera.read_noise**2 + camera.step**2 / 12) * electron**2
        known = setup.medium.anchors(4, 0)[0] * math.sqrt(setup.typical)
        gain = electron if camera.shot_noise else 0.0
        expected = theory.real_variance(kind, setup.field, known, setup.typical, gain, floor)
        return relative_error(kind, setup), math.sqrt(
            expected / float(setup.field.real.square().mean())
        )

    return compare


def holography(
    camera: Camera,
    expected: float,
    scattering: Scattering | None = None,
    kind: Retrieval | None = None,
) -> Callable[[int], tuple[float, float]]:
    """Return a comparison of an error of phase shifting with a figure."""
    return lambda seed: (
        relative_error(kind or PhaseShifting(4), bench(seed, camera, scattering)),
        expected,
    )


def share(beam: str, well: float) -> Callable[[int], tuple[float, float]]:
    """Return a comparison of the share of clipped pixels with theory."""

    def compare(seed: int) -> tuple[float, float]:
        setup = bench(seed, Camera())
        beside = setup.medium.anchors(4, 0)[1][1] if beam == "anchor" else BEAMS[beam] ** 0.5
        field = setup.field + beside * math.sqrt(setup.typical)
        over = float((field.abs().square() >= well * setup.typical).double().mean())
        double = beam == "anchor"
        return over, theory.clipped(well / 2 if double else well, 0.0 if double else BEAMS[beam])

    return compare


def hot_pixels(share: float) -> Callable[[int], tuple[float, float]]:
    """Return a comparison of the share of outputs that four steps find dark with theory."""

    def compare(seed: int) -> tuple[float, float]:
        setup = bench(seed, Camera(photons=EXPOSURE, full_well=10 * DEEP, hot=share))
        size = PhaseShifting(4).recover(setup).abs().amax(0)
        return float((size < 1e-6 * setup.typical**0.5).double().mean()), share

    return compare


def drift(passed: float) -> Callable[[int], tuple[float, float]]:
    """Return a comparison of the correlation with the calibrated matrix with its decay."""

    def compare(seed: int) -> tuple[float, float]:
        setup = bench(seed, Camera(), Scattering(lifetime=1.0))
        first, now = setup.medium.matrix(), setup.medium.matrix(passed)
        return float((first.conj() * now).sum().real / first.norm() / now.norm()), math.exp(-passed)

    return compare
