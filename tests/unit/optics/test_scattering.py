"""The medium: circular Gaussians from a seed, by tiles or whole, and their drift."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from beyondprop.optics import Medium, Scattering, medium
from tests.reference import optics as reference


def made(inputs, outputs, scattering=None, seed=3, stream=1):
    return Medium(
        scattering or Scattering(),
        seed,
        stream,
        inputs,
        outputs,
        torch.float64,
        torch.device("cpu"),
    )


def correlation(a, b):
    """Of complex numbers of mean 0."""
    return ((a.conj() * b).mean() / (a.abs().square().mean() * b.abs().square().mean()).sqrt()).real


@pytest.mark.parametrize("widths", [(1, 1), (7, 70), (130, 65)])
def test_the_reference(widths):
    expected = torch.from_numpy(reference.medium(3, 1, *widths))
    torch.testing.assert_close(made(*widths).matrix(), expected)


def test_entries_are_circular_gaussians():
    matrix = made(400, 500).matrix() * math.sqrt(500)
    real, imaginary = matrix.real, matrix.imag
    assert abs(matrix.mean()) < 0.01
    assert abs(real.square().mean() - 1) < 0.015
    assert abs(imaginary.square().mean() - 1) < 0.015
    assert abs((real * imaginary).mean()) < 0.01
    assert abs(real.pow(4).mean() - 3) < 0.1
    # Speckle: the intensity is exponentially distributed, and so as wide as its mean.
    speckle = made(400, 20000).carry(torch.ones(1, 400, dtype=torch.float64), 0).abs().square()
    assert abs(speckle.std() / speckle.mean() - 1) < 0.03
    for other in (made(400, 500, seed=4), made(400, 500, stream=2)):
        assert abs(correlation(other.matrix(), matrix)) < 0.01


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 130))
@settings(deadline=None, max_examples=30)
def test_a_narrower_block_sees_a_slice(inputs, outputs, more):
    wide = made(inputs, outputs + more).matrix() * math.sqrt(outputs + more)
    torch.testing.assert_close(
        made(inputs, outputs).matrix() * math.sqrt(outputs), wide[:, :outputs]
    )


@pytest.mark.parametrize("scattering", [Scattering(), Scattering(lifetime=10, age=17)], ids=repr)
def test_tiles_are_the_matrix(monkeypatch, scattering):
    frames = torch.randn(3, 5000, dtype=torch.float64)
    whole = made(5000, 70, scattering).carry(frames, 0)
    monkeypatch.setattr(medium, "DENSE", 0)
    tiled = made(5000, 70, scattering)
    torch.testing.assert_close(tiled.carry(frames, 0), whole)
    assert not tiled._drawn
    torch.testing.assert_close(whole, frames.to(whole.dtype) @ tiled.matrix(shots=0))


@pytest.mark.parametrize("shots", [0, 3, 10, 25, 100])
def test_the_correlation_with_the_calibrated_medium_falls_as_it_should(shots):
    scattering = Scattering(lifetime=20, age=2)
    drifting = made(300, 300, scattering)
    rho = scattering.correlation(shots)
    assert rho == pytest.approx(math.exp(-(shots + 2) / 20))
    now = drifting.matrix(shots)
    assert abs(correlation(drifting.matrix(), now) - rho) < 0.015
    assert abs(now.abs().square().mean() * 300 / 2 - 1) < 0.015
    fields = drifting.carry(torch.eye(300, dtype=torch.float64), shots)
    torch.testing.assert_close(fields, now)


@given(st.floats(0, 200))
@settings(deadline=None, max_examples=50)
def test_the_mixture_keeps_the_power_and_has_the_correlation(shots):
    scattering = Scattering(lifetime=4.0)
    mixed = scattering.mixture(shots)
    assert sum(w * w for w in mixed.values()) == pytest.approx(1, abs=1e-9)
    assert mixed.get(0, 0) == pytest.approx(scattering.correlation(shots), abs=1e-5)
    assert len(mixed) <= 14


def test_the_medium_moves_without_a_jump():
    drifting = made(200, 200, Scattering(lifetime=10))
    for shots in (10, 20, 50):
        before, after = drifting.matrix(shots - 0.001), drifting.matrix(shots + 0.001)
        assert correlation(before, after) > 0.999
    assert correlation(drifting.matrix(45), drifting.matrix(55)) < 0.6


def test_anchors_have_mean_power_1_and_the_first_is_the_phase_reference():
    known, now = made(5, 20000, Scattering(lifetime=10)).anchors(3, shots=5)
    assert (known[0].real > 0).all()
    assert known[0].imag.abs().max() < 1e-12
    torch.testing.assert_close(
        known.abs().square().mean(1), torch.ones(3).double(), rtol=0.05, atol=0
    )
    assert abs(correlation(known[1], now[1]) - math.exp(-0.5)) < 0.03
    assert abs(correlation(known[1], known[2])) < 0.03
