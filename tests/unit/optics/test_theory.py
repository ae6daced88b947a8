"""The simulator against theory: noise, rounding and clipping as large as their formulas say."""

import math
from dataclasses import replace

import pytest
import torch

from beyondprop.optics import (
    Anchors,
    Camera,
    OffAxis,
    OPUMap,
    PhaseShifting,
    Scattering,
    ideal,
)
from tests.reference import optics as reference

from .test_retrieval import bench

KINDS = [PhaseShifting(3), PhaseShifting(4, strength=3.0), OffAxis(), Anchors(), Anchors(8)]
kinds = pytest.mark.parametrize("kind", KINDS, ids=repr)
CAMERAS = {
    "shot noise": Camera(photons=200, shot_noise=True),
    "read noise": Camera(photons=200, read_noise=20),
    "rounding": Camera(photons=200, full_well=20_000, bits=12),
    "all": Camera(photons=200, shot_noise=True, read_noise=20, full_well=20_000, bits=10),
}


def foreseen(kind, fields, lit, camera):
    """Return the mean variance of the real part of one row's outputs."""
    electron = lit.typical / camera.photons

    def reading(intensity):
        shot = intensity * electron if camera.shot_noise else 0.0
        return shot + (camera.read_noise**2 + camera.step**2 / 12) * electron**2

    amplitude = math.sqrt(kind.strength * lit.typical)
    if isinstance(kind, OffAxis):
        return reference.off_axis_variance(fields, amplitude, reading)
    if isinstance(kind, PhaseShifting):
        each = [
            reference.phase_shifting_variance(y, amplitude, kind.steps, reading) for y in fields
        ]
    else:
        known = lit.medium.anchors(kind.count, 0)[0] * amplitude
        each = [
            reference.anchors_variance(y, known[:, j].tolist(), reading)
            for j, y in enumerate(fields)
        ]
    return sum(each) / len(each)


@kinds
@pytest.mark.parametrize("camera", CAMERAS.values(), ids=CAMERAS)
def test_every_retrieval_is_as_wrong_as_its_readings_say(kind, camera):
    """Rounding is no noise: it is one only for light that moves over many steps."""
    lit = bench(14, camera, rows=400 if camera.shot_noise or camera.read_noise else 1500)
    found = (kind.recover(lit) - lit.field).real.square().mean().item()
    rows = lit.field[:12].tolist()
    if isinstance(kind, OffAxis):
        rows = rows[:4]
    theory = sum(foreseen(kind, fields, lit, camera) for fields in rows) / len(rows)
    assert found == pytest.approx(theory, rel=0.2)


@kinds
def test_the_slope_over_photons_is_a_half(kind):
    photons, logs = (10.0, 1e2, 1e3, 1e4, 1e5), []
    for count in photons:
        lit = bench(300, Camera(photons=count, shot_noise=True), rows=20)
        logs.append(math.log((kind.recover(lit) - lit.field).abs().square().mean().sqrt()))
    x = [math.log(count) for count in photons]
    middle = sum(x) / len(x)
    slope = sum((a - middle) * b for a, b in zip(x, logs, strict=True))
    slope /= sum((a - middle) ** 2 for a in x)
    assert slope == pytest.approx(-0.5, abs=0.02)


@kinds
def test_a_bit_more_halves_the_error_of_rounding(kind):
    errors = []
    for bits in (9, 10, 11):
        lit = bench(300, Camera(photons=200, full_well=20_000, bits=bits), rows=20)
        errors.append((kind.recover(lit) - lit.field).abs().square().mean().sqrt())
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize("well", [0.5, 1.0, 3.0, 6.0])
def test_a_dark_field_is_clipped_where_speckle_is_exponential(well):
    device = replace(ideal(), camera=Camera(photons=100, full_well=100 * well))
    # A row of ones has twice the power of a frame with half of its mirrors on.
    read = OPUMap(40_000, device).transform(torch.ones(1, 16, dtype=torch.float64)) / 8
    share = (read >= well * (1 - 1e-9)).double().mean()
    theory = math.exp(-well / 2)
    assert share == pytest.approx(theory, abs=4 * math.sqrt(theory / 40_000))
    assert reference.clipped(well / 2, 0) == pytest.approx(theory, rel=1e-3)


@pytest.mark.parametrize("well", [1.0, 3.0, 6.0])
def test_with_a_reference_beam_it_is_rices(well):
    lit = bench(40_000, Camera(photons=100, full_well=100 * well), rows=1, inputs=200)
    amplitude = math.sqrt(lit.typical)
    read = lit.photograph(lit.field + amplitude)
    share = (read >= well * lit.typical * (1 - 1e-9)).double().mean()
    power = (lit.power / lit.typical).item()  # of what mirrors are on by chance
    theory = reference.clipped(well / power, 1 / power)
    assert share == pytest.approx(theory, abs=5 * math.sqrt(theory / 40_000))


def test_where_saturation_begins_to_matter():
    """With a thousand photons: at ten times the mean intensity it still errs more than they do."""
    errors = {}
    for well in (7.0, 10.0, 16.0):
        lit = bench(12_000, Camera(photons=1000, full_well=1000 * well), rows=2, inputs=400)
        error = (PhaseShifting(4).recover(lit) - lit.field).abs().square().mean()
        errors[well] = (error / lit.typical).item()
    assert errors[7.0] == pytest.approx(reference.clipping(7.0, 1.0, 4), rel=0.3)
    shot = 2 * (1 + 1) / (8 * 1000)
    assert errors[16.0] < shot < errors[10.0] < errors[7.0]


@pytest.mark.parametrize("share", [0.01, 0.1])
@pytest.mark.parametrize("steps", [3, 4, 6])
def test_instability_strays_interferes_and_beats(share, steps):
    """Lost light, stray light with the reference, and |y|² that differs between shots."""
    lit = bench(600, scattering=Scattering(instability=share), rows=30, inputs=40)
    error = (PhaseShifting(steps).recover(lit) - lit.field).abs().square().mean() / lit.typical
    lost = (1 - math.sqrt(1 - share)) ** 2
    theory = lost + 2 * share / steps + share * (2 - share) / steps
    assert error == pytest.approx(theory, rel=0.08)


def test_a_hot_pixel_takes_its_output_and_no_more():
    lit = bench(2000, Camera(photons=100, full_well=1e6, hot=0.05), rows=10)
    off = (PhaseShifting().recover(lit) - lit.field).abs().square().mean()
    assert (off / lit.field.abs().square().mean()).item() == pytest.approx(0.05, rel=0.15)
