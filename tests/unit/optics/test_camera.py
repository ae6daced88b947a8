"""The camera: each effect alone, and where it shows."""

import pytest
import torch

import beyondprop as bp
from beyondprop.optics import Camera
from beyondprop.optics.camera import hot_pixels
from tests.reference import optics as reference


def read(camera, intensity, typical=2.0, seed=0):
    return camera.expose(intensity, typical, torch.Generator().manual_seed(5), seed)


def speckle(*shape):
    return -torch.rand(*shape, dtype=torch.float64).log() * 2.0


def test_off_it_is_exact():
    intensity = speckle(4, 50)
    torch.testing.assert_close(read(Camera(), intensity), intensity, rtol=1e-15, atol=0)


@pytest.mark.parametrize("photons", [3.0, 100.0, 1e4])
def test_shot_noise_is_poissonian(photons):
    counts = (
        read(Camera(photons=photons, shot_noise=True), torch.full((1, 40000), 2.0)) * photons / 2
    )
    torch.testing.assert_close(counts, counts.round(), rtol=0, atol=1e-3 * photons**0.5)
    assert counts.mean() == pytest.approx(photons, rel=0.03)
    assert counts.var() == pytest.approx(photons, rel=0.03)


def test_read_noise_is_gaussian_and_does_not_depend_on_the_light():
    camera = Camera(photons=1000, read_noise=7)
    for intensity in (0.0, 2.0):
        noise = (read(camera, torch.full((1, 40000), intensity)) - intensity) * 1000 / 2
        assert noise.std() == pytest.approx(7, rel=0.03)
        assert abs(noise.mean()) < 0.2


def test_saturation_clips_at_the_full_well_and_nowhere_else():
    intensity = speckle(3, 400)
    found = read(Camera(photons=100, full_well=150), intensity)
    torch.testing.assert_close(found, intensity.clamp(max=3.0))
    assert (found == 3.0).any()
    noisy = read(Camera(photons=100, full_well=150, read_noise=80), intensity)
    assert noisy.min() == 0
    assert noisy.max() == 3.0


@pytest.mark.parametrize("bits", [1, 4, 8, 12])
def test_the_steps_of_the_converter(bits):
    camera = Camera(photons=100, full_well=500, bits=bits)
    assert camera.step == pytest.approx(500 / (2**bits - 1))
    intensity = torch.linspace(0, 10, 20001, dtype=torch.float64).unsqueeze(0)
    electrons = read(camera, intensity) * 50
    steps = electrons / camera.step
    torch.testing.assert_close(steps, steps.round())
    levels = steps.round().unique()
    assert levels.min() == 0
    assert levels.max() == 2**bits - 1
    assert bits == 12 or len(levels) == 2**bits
    error = electrons - (intensity * 50)
    assert error.abs().max() <= camera.step / 2 * (1 + 1e-9)
    if bits > 1:
        assert error.std() == pytest.approx(camera.step / 12**0.5, rel=0.05)


def test_the_reference():
    intensity = speckle(2, 30)
    camera = Camera(photons=80, full_well=200, bits=5)
    expected = [[reference.camera(i, 80, 2.0, 200, 5) for i in row] for row in intensity.tolist()]
    torch.testing.assert_close(read(camera, intensity), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("share", [0.0, 0.013, 0.5, 1.0])
def test_hot_pixels_are_as_many_as_said_and_always_the_same(share):
    camera = Camera(photons=100, full_well=1000, hot=share)
    dark = torch.zeros(3, 1000)
    found = read(camera, dark, seed=4)
    count = int((found[0] == 20).sum())
    assert abs(count - share * 1000) <= 5 * (share * (1 - share) * 1000) ** 0.5
    assert count > 0 or not share
    assert torch.equal(read(camera, dark[:, :300], seed=4), found[:, :300])
    assert torch.equal(found[0], found[1])
    assert torch.equal(found, read(camera, dark, seed=4))
    if 0 < share < 1:
        assert not torch.equal(found, read(camera, dark, seed=5))


def test_hot_pixels_lie_anywhere():
    assert 4000 < hot_pixels(10000, 0.02, 1).double().mean() < 6000


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        ({"photons": 1e20}, "photons of Camera must be a number above 0, up to 1000000000.0, not"),
        ({"bits": 8.5, "full_well": 10}, "whole number from 1 to 16"),
        ({"bits": 8}, "need a full well"),
        ({"hot": 0.1}, "need a full well"),
    ],
)
def test_figures_out_of_range(figures, said):
    with pytest.raises(bp.UserError, match=said):
        Camera(**figures)
