"""The device as a whole: ideal it is exact, and every effect alone changes what arrives."""

import json
from dataclasses import replace

import pytest
import torch

import beyondprop as bp
from beyondprop.optics import (
    PRESETS,
    Anchors,
    BitPlanes,
    Camera,
    Encoder,
    OffAxis,
    PhaseShifting,
    PhotonicProcessor,
    PhotonicProjection,
    Retrieval,
    Scattering,
    Specification,
    Ternary,
    build,
    ideal,
    lighton_opu,
)
from beyondprop.optics.camera import hot_pixels
from tests.reference import optics as reference

EFFECTS = {
    "ternary": {"encoder": Ternary()},
    "bit planes": {"encoder": BitPlanes(3)},
    "drift": {"scattering": Scattering(lifetime=100.0, age=10.0)},
    "instability": {"scattering": Scattering(instability=0.01)},
    "shot noise": {"camera": Camera(shot_noise=True)},
    "read noise": {"camera": Camera(read_noise=10.0)},
    "saturation": {"camera": Camera(full_well=20_000.0)},
    "quantisation": {"camera": Camera(full_well=1e6, bits=10)},
    "hot pixels": {"camera": Camera(full_well=1e6, hot=0.1)},
    "phase noise": {"retrieval": PhaseShifting(phase_noise=0.05)},
}
OFF = {
    "three steps": {"retrieval": PhaseShifting(3)},
    "off-axis": {"retrieval": OffAxis()},
    "anchors": {"retrieval": Anchors()},
    "photons": {"camera": Camera(photons=3.0)},
    "a full well that is deep enough": {"camera": Camera(full_well=1e9)},
    "age without drift": {"scattering": Scattering(age=10.0)},
    "limits": {"specification": Specification(max_inputs=12, max_outputs=40)},
}


def shown(device, x, outputs=40):
    projection = PhotonicProjection(3, device=device)
    return projection.project(x, outputs, 0), x @ projection.matrix(x.shape[-1], outputs, 0, x)


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e6])
def test_the_ideal_device_is_the_matrix(scale):
    x = torch.randn(9, 12, dtype=torch.float64) * scale
    found, exact = shown(ideal(), x)
    torch.testing.assert_close(found, exact, rtol=1e-10, atol=1e-12 * scale)
    found, exact = shown(ideal(), x.float())
    torch.testing.assert_close(found, exact, rtol=1e-4, atol=2e-6 * scale)


def test_the_ideal_device_is_the_reference():
    x = torch.randn(3, 5, dtype=torch.float64)
    expected = x @ torch.from_numpy(reference.medium(3, 0, 5, 70).real)
    torch.testing.assert_close(shown(ideal(), x, 70)[0], expected)


@pytest.mark.parametrize("change", EFFECTS.values(), ids=EFFECTS)
def test_every_effect_alone_changes_what_arrives(change):
    x = torch.randn(30, 12, dtype=torch.float64)
    found, exact = shown(replace(ideal(), **change), x)
    wrong = (found - exact).norm() / exact.norm()
    assert 1e-4 < wrong < 0.7


@pytest.mark.parametrize("change", OFF.values(), ids=OFF)
def test_and_without_effects_it_stays_exact(change):
    x = torch.randn(30, 12, dtype=torch.float64)
    torch.testing.assert_close(*shown(replace(ideal(), **change), x), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("encoder", [Ternary(0.5), BitPlanes(5)], ids=repr)
def test_encoding_alone_differs_by_the_encoding(encoder):
    x = torch.randn(8, 12, dtype=torch.float64)
    frames, weights = encoder.encode(x)
    encoded = (frames * weights.unsqueeze(-1)).sum(1)
    found, _ = shown(replace(ideal(), encoder=encoder), x)
    torch.testing.assert_close(found, shown(ideal(), encoded)[1], rtol=1e-9, atol=1e-10)


def test_lighton_lies_between_its_encoding_and_noise():
    x = torch.randn(60, 12)
    found, exact = shown(lighton_opu(), x, 300)
    ternary, _ = shown(replace(ideal(), encoder=Ternary()), x, 300)
    optics = (found - ternary).norm() / exact.norm()
    assert 0.03 < optics < 0.3
    assert torch.corrcoef(torch.stack([found.flatten(), exact.flatten()]))[0, 1] > 0.8


def test_a_hot_pixel_is_a_dead_output_of_phase_shifting():
    found, _ = shown(replace(ideal(), camera=Camera(full_well=1e6, hot=0.1)), torch.randn(5, 12))
    dead = found.abs().amax(0) < 1e-3
    assert torch.equal(dead.nonzero().flatten(), hot_pixels(len(dead), 0.1, 3))
    assert 0 < dead.sum() < len(dead) / 2


@pytest.mark.parametrize("name", PRESETS)
def test_presets_have_settings_that_are_json(name):
    device = PRESETS[name]()
    found = device.settings()
    assert json.loads(json.dumps(found)) == found
    assert found["part"] == "PhotonicProcessor"
    assert found["encoder"]["part"] == type(device.encoder).__name__
    assert device == PRESETS[name]()
    hash(device)


@pytest.mark.parametrize("change", [*EFFECTS.values(), *OFF.values()])
def test_a_device_is_built_again_from_its_settings(change):
    device = replace(lighton_opu(), **change)
    assert build(json.loads(json.dumps(device.settings()))) == device


def test_settings_of_no_device():
    with pytest.raises(bp.UserError, match="'Lens' is not a part of a photonic co-processor"):
        build({"part": "Lens"})
    with pytest.raises(bp.UserError, match="Ternary takes threshold, not bits"):
        build({"part": "Ternary", "bits": 3})
    with pytest.raises(bp.UserError, match="threshold of Ternary must be a number from 0"):
        build({"part": "Ternary", "threshold": 3.0})
    with pytest.raises(bp.UserError, match="None is not a part"):
        build({})
    with pytest.raises(bp.UserError, match="Exact takes no figures, not bits"):
        build({"part": "Exact", "bits": 3})
    with pytest.raises(bp.UserError, match="photons of Camera must be a number"):
        build({"part": "Camera", "photons": "many"})
    with pytest.raises(
        bp.UserError, match="PhotonicProjection takes seed, shared, device, not clo"
    ):
        build({"name": "photonic", "clock": 3})


def test_shots_and_published_limits():
    device = lighton_opu()
    assert device.shots == 2 * 5
    assert ideal().shots == 4
    assert (device.specification.max_inputs, device.specification.max_outputs) == (1039680, 2073600)
    assert (device.specification.frame_rate, device.specification.power) == (2000, 30)
    assert device.camera.bits == 8


@pytest.mark.parametrize(
    ("inputs", "outputs", "said"),
    [
        (13, 40, "has 1 to 12 inputs, not 13: use fewer"),
        (12, 41, "has 1 to 40 outputs, not 41: use fewer"),
        (0, 40, "1 to 12 inputs, not 0"),
        (12, 0, "1 to 40 outputs, not 0"),
    ],
)
def test_widths_over_the_limits(inputs, outputs, said):
    device = replace(ideal(), specification=Specification(max_inputs=12, max_outputs=40))
    with pytest.raises(bp.UserError, match=said):
        shown(device, torch.zeros(2, inputs), outputs)
    with pytest.raises(bp.UserError, match=said):
        PhotonicProjection(device=device).matrix(inputs, outputs, 0, torch.zeros(1))


def test_off_axis_holography_has_a_quarter_of_the_outputs():
    small = Specification(max_inputs=12, max_outputs=40)
    device = PhotonicProcessor(retrieval=OffAxis(), specification=small)
    assert shown(device, torch.zeros(2, 12), 10)[0].shape == (2, 10)
    with pytest.raises(bp.UserError, match="has 1 to 10 outputs, not 11"):
        shown(device, torch.zeros(2, 12), 11)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_no_mirror_shows(value):
    x = torch.zeros(3, 12)
    x[1, 2] = value
    with pytest.raises(bp.UserError, match="NaN or infinite"):
        ideal().check(x, 5)


def test_an_abstract_part_has_one_abstract_method():
    assert Encoder.__abstractmethods__ == {"encode"}
    assert Retrieval.__abstractmethods__ == {"recover"}
