"""Calibration: what a device's own shots say of its matrix, and what they don't."""

import copy
import json
import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import beyondprop as bp
from beyondprop.optics import (
    Anchors,
    Binary,
    BitPlanes,
    Calibrated,
    Camera,
    PhaseShifting,
    PhotonicProjection,
    Scattering,
    Specification,
    Ternary,
    UnevenTernary,
    build,
    calibrate,
    calibration,
    ideal,
)

LIKE = torch.zeros(1, dtype=torch.float64)


def noisy(photons=1000.0):
    camera = Camera(photons=photons, shot_noise=True)
    return replace(ideal(), encoder=Ternary(), camera=camera)


def off(found, projection, stream=0):
    exact = projection.matrix(*found.matrix.shape, stream, found.matrix)
    return float((found.matrix - exact).norm() / exact.norm())


@pytest.mark.parametrize("encoder", [Ternary(), UnevenTernary(), BitPlanes(2)], ids=repr)
@pytest.mark.parametrize("inputs", [1, 5, 8])
def test_without_noise_it_is_the_matrix(encoder, inputs, monkeypatch):
    monkeypatch.setattr(calibration, "ROWS", 3)
    projection = PhotonicProjection(3, device=replace(ideal(), encoder=encoder))
    found = calibrate(projection, inputs, 20, 1, LIKE, repeats=2)
    exact = projection.matrix(inputs, 20, 1, LIKE)
    torch.testing.assert_close(found.matrix, exact, rtol=1e-9, atol=1e-10)
    assert found.error < 1e-6
    patterns = 1 << (inputs - 1).bit_length()
    assert found.shots == projection.clock.shots == 2 * patterns * projection.device.shots


def test_the_error_is_foreseen_and_falls_with_the_root_of_the_repeats():
    errors = []
    for repeats in (2, 8, 32):
        projection = PhotonicProjection(3, device=noisy())
        found = calibrate(projection, 12, 300, 0, LIKE, repeats)
        assert found.error == pytest.approx(off(found, projection), rel=0.05)
        errors.append(found.error)
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(2, rel=0.1)


def test_the_error_is_that_of_shot_noise():
    """Two frames of half the mirrors each, (1 + 1) / 8N a frame, shared by n patterns."""
    found = calibrate(PhotonicProjection(device=noisy(100.0)), 16, 500, 0, LIKE, repeats=16)
    # In units of the typical intensity, 16 / out, the variance of an entry; its own is 1 / out.
    theory = 2 * (1 + 1) / (8 * 100) / 16 / 16 * 16
    assert found.error == pytest.approx(math.sqrt(theory), rel=0.06)


def test_patterns_of_signs_beat_one_hot_inputs():
    projection = PhotonicProjection(device=noisy(100.0))
    eye = torch.eye(64, dtype=torch.float64)
    shown = torch.stack([projection.project(eye, 100, 0) for _ in range(2)]).mean(0)
    exact = projection.matrix(64, 100, 0, eye)
    one_hot = (shown - exact).norm() / exact.norm()
    found = calibrate(PhotonicProjection(device=noisy(100.0)), 64, 100, 0, eye, repeats=2)
    assert off(found, projection) < one_hot / 4


def test_drift_shows_between_two_calibrations_whatever_their_noise():
    device = replace(noisy(30.0), scattering=Scattering(lifetime=1e5))
    projection = PhotonicProjection(device=device)
    first = calibrate(projection, 16, 400, 0, LIKE)
    assert first.correlation(first) > 1.0  # its noise is the same, and not to be given back
    soon = calibrate(projection, 16, 400, 0, LIKE)
    assert first.correlation(soon) == pytest.approx(1, abs=0.03)
    projection.clock.shots = 250_000
    later = calibrate(projection, 16, 400, 0, LIKE)
    # Between two moments the medium moves more smoothly than exp(-t / lifetime): see Scattering.
    begun, now = (device.scattering.mixture(t + first.shots / 2) for t in (0, 250_000))
    expected = sum(weight * now[number] for number, weight in begun.items())
    assert first.correlation(later) == pytest.approx(expected, abs=0.04)


def test_dtypes_and_limits():
    small = replace(ideal(), specification=Specification(max_inputs=12, max_outputs=40))
    projection = PhotonicProjection(device=small)
    assert calibrate(projection, 3, 4, 0, torch.zeros(1).bfloat16()).matrix.dtype is torch.bfloat16
    with pytest.raises(bp.UserError, match="1 to 12 inputs, not 13: use fewer"):
        calibrate(projection, 13, 4, 0, LIKE)
    with pytest.raises(
        bp.UserError,
        match="calibration must be a whole number from 2 to 1048576, not 1",
    ):
        calibrate(projection, 3, 4, 0, LIKE, repeats=1)
    with pytest.raises(
        bp.UserError,
        match="repeats of Calibrated must be a whole number from 2 to 1048576, not 0",
    ):
        Calibrated(projection, repeats=0)
    binary = PhotonicProjection(device=replace(small, encoder=Binary()))
    with pytest.raises(bp.UserError, match="Binary shows only the numbers 0 and 1"):
        calibrate(binary, 3, 4, 0, LIKE)


def test_a_rule_that_asks_for_the_matrix_gets_the_measured_one():
    optics = PhotonicProjection(3, device=noisy(100.0))
    optics.clock.shots = 5
    known = Calibrated(optics, repeats=2)
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4))
    bp.attach(model, bp.FeedbackAlignment(known))
    F.cross_entropy(model(torch.randn(3, 6)), torch.arange(3)).backward()
    first = known.matrix(4, 5, 0, LIKE)
    assert known.matrix(4, 5, 0, LIKE) is first
    assert known.counter == optics.clock.shots == 5
    known.resume(7)
    assert known.counter == optics.clock.shots == 7
    assert torch.equal(Calibrated(optics, repeats=2).matrix(4, 5, 0, LIKE), first)
    ideal_map = optics.matrix(4, 5, 0, LIKE)
    assert not torch.allclose(first, ideal_map, rtol=1e-3)
    assert F.cosine_similarity(first.flatten(), ideal_map.flatten(), 0) > 0.9
    assert known.stream(7) == optics.stream(7)
    again = copy.deepcopy(known)
    assert again == known
    assert again.project(torch.randn(2, 4), 5, 0).shape == (2, 5)
    assert build(json.loads(json.dumps(known.settings()))) == known


@pytest.mark.parametrize("error", [0.02, 0.1])
def test_anchors_that_are_known_badly(error):
    """The same error in every shot: no averaging helps, and more light does not either."""
    device = replace(ideal(), encoder=Ternary(), retrieval=Anchors(8, calibration_error=error))
    projection = PhotonicProjection(2, device=device)
    found = calibrate(projection, 8, 500, 0, LIKE, repeats=2)
    assert found.error < 1e-6
    assert error / 2 < off(found, projection) < 4 * error


def test_anchors_are_known_as_badly_as_said():
    projection = PhotonicProjection(2, device=ideal())
    medium = projection.medium(LIKE, 20_000, 0)
    exact, _ = medium.anchors(4, 0)
    known, now = medium.anchors(4, 0, 0.1)
    assert torch.equal(now, exact)
    assert known[0].imag.abs().max() < 1e-12
    # Where the first anchor is dark its phase, from which all are counted, is known worst.
    bright = exact[0].abs() > 1
    found = (known - exact)[1:, bright].abs().square().mean().sqrt()
    assert 0.1 < found < 0.14
    assert not torch.equal(
        known, PhotonicProjection(3).medium(LIKE, 20_000, 0).anchors(4, 0, 0.1)[0]
    )


def test_phase_shifting_has_no_anchors_to_know():
    with pytest.raises(bp.UserError, match="calibration_error of Anchors must be"):
        Anchors(calibration_error=-0.1)
    assert not hasattr(PhaseShifting(), "calibration_error")


def test_autocast_does_not_coarsen_it():
    exact = calibrate(PhotonicProjection(device=ideal()), 40, 50, 0, LIKE).matrix
    with torch.autocast("cpu", torch.bfloat16):
        found = calibrate(PhotonicProjection(device=ideal()), 40, 50, 0, LIKE).matrix
    assert torch.equal(found, exact)


def test_a_matrix_that_noise_hides_has_no_correlation():
    dark = replace(ideal(), camera=Camera(photons=1e-4, shot_noise=True))
    found = [calibrate(PhotonicProjection(s, device=dark), 6, 8, 0, LIKE) for s in range(8)]
    hidden = next(each for each in found if math.isinf(each.error))
    with pytest.raises(bp.UserError, match="noise hides the matrix"):
        found[0].correlation(hidden)
