"""Retrieval: exact without noise, and with shot noise as wrong as theory says."""

import math
from dataclasses import replace

import pytest
import torch

import beyondprop as bp
from beyondprop.optics import (
    Anchors,
    Bench,
    Camera,
    Medium,
    OffAxis,
    PhaseShifting,
    PhotonicProjection,
    Retrieval,
    Scattering,
    lighton_opu,
)
from beyondprop.optics.retrieval import _determinant
from tests.reference import optics as reference

KINDS = [
    PhaseShifting(3),
    PhaseShifting(4, strength=3.0),
    PhaseShifting(5),
    OffAxis(),
    OffAxis(strength=5.0),
    Anchors(2),
    Anchors(),
]
kinds = pytest.mark.parametrize("kind", KINDS, ids=repr)


def bench(outputs, camera=None, scattering=None, rows=6, inputs=10, dtype=torch.float64):
    scattering = scattering or Scattering()
    medium = Medium(scattering, 3, 1, inputs, outputs, dtype, torch.device("cpu"))
    frames = (torch.rand(rows, inputs) < 0.5).to(dtype)
    return Bench(
        field=medium.carry(frames, 0),
        power=frames.sum(1, keepdim=True) * 2 / outputs,
        typical=inputs / outputs,
        medium=medium,
        shots=0,
        camera=camera or Camera(),
        generator=torch.Generator().manual_seed(7),
        seed=3,
    )


@kinds
@pytest.mark.parametrize("outputs", [1, 2, 9, 32])
def test_exact_without_noise(kind, outputs):
    lit = bench(outputs)
    torch.testing.assert_close(kind.recover(lit), lit.field, rtol=1e-9, atol=1e-9)
    lit = bench(outputs, dtype=torch.float32)
    scale = lit.field.abs().mean().item() * (1e-2 if isinstance(kind, Anchors) else 1e-5)
    torch.testing.assert_close(kind.recover(lit), lit.field, rtol=0, atol=scale)


@kinds
def test_the_reference_through_a_coarse_camera(kind):
    """With saturation and rounding, so that a wrong intensity cannot go unseen."""
    lit = bench(12, Camera(photons=50, full_well=200, bits=6), rows=3)
    typical, found = lit.typical, kind.recover(lit)

    def read(intensity):
        return reference.camera(intensity, 50, typical, 200, 6)

    for row, fields in enumerate(lit.field.tolist()):
        if isinstance(kind, OffAxis):
            expected = reference.off_axis(fields, math.sqrt(kind.strength * typical), read)
        elif isinstance(kind, PhaseShifting):
            amplitude = math.sqrt(kind.strength * typical)
            expected = [reference.phase_shifting(y, amplitude, kind.steps, read) for y in fields]
        else:
            drawn = lit.medium.anchors(kind.count, 0)[0] * math.sqrt(kind.strength * typical)
            expected = [
                reference.anchors(y, drawn[:, j].tolist(), read) for j, y in enumerate(fields)
            ]
        expected = torch.tensor(expected, dtype=found.dtype)
        assert not torch.allclose(expected, lit.field[row], rtol=1e-3)
        torch.testing.assert_close(found[row], expected, rtol=1e-6, atol=1e-6)


def error(kind, photons, outputs=400, rows=40):
    """Return the mean square error of the real part, in units of the typical intensity."""
    lit = bench(outputs, Camera(photons=photons, shot_noise=True), rows=rows)
    square = (kind.recover(lit).real - lit.field.real).square().mean()
    return (square / lit.typical).item(), (lit.field.abs().square().mean() / lit.typical).item()


@pytest.mark.parametrize("strength", [1.0, 4.0])
def test_four_steps_are_as_wrong_as_shot_noise_says(strength):
    """Var Re y = (|y|² + r²) / (8 r² N) for N photons at the typical intensity."""
    for photons in (1e2, 1e3, 1e4):
        found, power = error(PhaseShifting(4, strength), photons)
        theory = (power + strength) / (8 * strength * photons)
        assert found == pytest.approx(theory, rel=0.05)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != Anchors(2)], ids=repr)
def test_the_error_falls_as_one_over_the_root_of_the_photons(kind):
    """Not with two anchors: where they are in phase, errors have no variance."""
    few, many = (error(kind, photons, outputs=200)[0] for photons in (1e3, 1e5))
    assert math.sqrt(few / many) == pytest.approx(10, rel=0.12)


def test_two_anchors_are_worse_than_four():
    medians = []
    for kind in (Anchors(2), Anchors(4), Anchors(8)):
        lit = bench(400, Camera(photons=1e3, shot_noise=True), rows=20)
        medians.append((kind.recover(lit) - lit.field).abs().square().mean(0).quantile(0.9))
    assert medians[0] > 2 * medians[1] > 2 * medians[2]


def test_instability_takes_its_share_of_the_power():
    lit = bench(500, scattering=Scattering(instability=0.2), rows=40)
    first, second = lit.light(), lit.light()
    assert not torch.equal(first, second)
    for shot in (first, second):
        share = (shot * lit.field.conj()).mean().real / lit.field.abs().square().mean()
        assert share == pytest.approx(math.sqrt(0.8), rel=0.02)
        assert shot.abs().square().mean() == pytest.approx(
            lit.field.abs().square().mean().item(), rel=0.03
        )
    stable = bench(5)
    assert stable.light() is stable.field


@kinds
def test_instability_alone_disturbs(kind):
    lit = bench(60, scattering=Scattering(instability=0.05))
    off = (kind.recover(lit) - lit.field).abs().square().mean() / lit.field.abs().square().mean()
    assert off > 1e-3


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.05])
def test_phase_noise_is_as_wrong_as_theory_says(noise):
    """A small error of the phase in four steps: the root mean square is noise / sqrt(2) of |y|."""
    lit = bench(50, rows=800)
    error = PhaseShifting(4, phase_noise=noise).recover(lit) - lit.field
    found = (error.abs().square().mean() / lit.field.abs().square().mean()).sqrt()
    assert found == pytest.approx(noise / math.sqrt(2), rel=0.05, abs=1e-12)


def test_what_goes_astray_of_an_anchor_counts_too():
    lit = bench(500, scattering=Scattering(instability=1.0), rows=40)
    anchor = torch.full((500,), 2.0, dtype=lit.field.dtype)
    power = lit.light(anchor).abs().square().mean()
    assert power == pytest.approx((lit.power.mean() + 4).item(), rel=0.02)


def test_a_drifting_anchor_is_not_the_calibrated_one():
    lit = replace(bench(300, scattering=Scattering(lifetime=10)), shots=5)
    found, share = Anchors().recover(lit), math.exp(-0.5)
    linear = (found * lit.field.conj()).mean().real / lit.field.abs().square().mean()
    assert linear == pytest.approx(share, abs=0.1)


def test_shots_pixels_and_operations():
    assert [kind.shots for kind in KINDS] == [3, 4, 5, 1, 1, 3, 5]
    assert [kind.pixels for kind in KINDS] == [1, 1, 1, 4, 4, 1, 1]
    three, four, *_ = (kind.operations(100) for kind in KINDS)
    assert 3 * four == 4 * three  # as many shots, as much work
    assert all(kind.operations(200) > 1.9 * kind.operations(100) > 200 for kind in KINDS)
    assert all(isinstance(kind, Retrieval) for kind in KINDS)


@pytest.mark.parametrize(
    ("kind", "figures"),
    [
        (PhaseShifting, {"steps": 2}),
        (PhaseShifting, {"strength": 0}),
        (PhaseShifting, {"phase_noise": -1}),
        (OffAxis, {"strength": -1}),
        (Anchors, {"count": 1}),
        (Anchors, {"strength": float("nan")}),
    ],
)
def test_figures_out_of_range(kind, figures):
    with pytest.raises(bp.UserError, match="must be"):
        kind(**figures)


def test_anchors_are_finite_at_every_output():
    """Among many outputs there are some where two anchors are all but in phase."""
    device = replace(lighton_opu(), retrieval=Anchors(2))
    found = PhotonicProjection(0, device=device).project(torch.randn(2, 10), 300_000, 0)
    assert found.isfinite().all()


def test_the_anchors_determinant_is_what_it_stands_for():
    known = torch.randn(4, 50, dtype=torch.complex128)
    s, q = known.abs().square().sum(0), known.square().sum(0)
    torch.testing.assert_close(_determinant(known, s), s.square() - q.abs().square())
