"""Random features by light: the kernel they approximate, and the methods that users expect."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import beyondprop as bp
from beyondprop.optics import (
    BitPlanes,
    Camera,
    OPUMap,
    Scattering,
    ideal,
    lighton_opu,
)


def test_transform_is_the_intensity():
    x = torch.randn(7, 12, dtype=torch.float64)
    made = OPUMap(30, device=ideal(), seed=2)
    matrix = made.projection.medium(x, 30, 0).matrix() * (30 / 2) ** 0.5
    torch.testing.assert_close(made.transform(x), (x.to(matrix.dtype) @ matrix).abs().square())
    assert torch.equal(made(x), made.transform(x))
    assert made.transform(x[0]).shape == (30,)


def test_linear_transform_is_the_projection():
    x = torch.randn(7, 12)
    made = OPUMap(30, device=ideal(), seed=2)
    expected = x @ made.projection.matrix(12, 30, 0, x)
    torch.testing.assert_close(made.linear_transform(x), expected, rtol=1e-4, atol=1e-5)


def test_the_kernel():
    """E[f(x) f(y)] = |x|² |y|² + (x·y)² for circular Gaussians, and E f(x) = |x|²."""
    x = torch.randn(6, 20, dtype=torch.float64)
    features = OPUMap(60_000, device=ideal()).transform(x)
    found = features @ features.t() / 60_000
    norms = x.square().sum(1)
    theory = norms.outer(norms) + (x @ x.t()).square()
    assert ((found - theory).abs() / theory).max() < 0.06
    torch.testing.assert_close(features.mean(1), norms, rtol=0.03, atol=0)


def test_lightons_device_reads_binary_input_in_255_steps():
    x = (torch.rand(20, 100) < 0.5).to(torch.uint8)
    made = OPUMap(500)
    found = made.transform(x)
    assert found.dtype is torch.float32
    levels = found.unique()
    assert len(levels) <= 256
    camera = lighton_opu().camera
    assert levels.diff().min() == pytest.approx(camera.step / camera.photons * 100 / 2, rel=1e-3)
    assert made.projection.clock.shots == 20
    linear = made.linear_transform(x)
    exact = x.float() @ made.projection.matrix(100, 500, 0, linear)
    assert torch.corrcoef(torch.stack([linear.flatten(), exact.flatten()]))[0, 1] > 0.9
    assert made.projection.clock.shots == 20 + 20 * 5


def test_the_camera_is_included():
    x = (torch.rand(20, 100) < 0.5).float()
    exact = OPUMap(500, device=ideal()).transform(x)
    noisy = OPUMap(500, replace(ideal(), camera=Camera(photons=100, shot_noise=True))).transform(x)
    wrong = (noisy - exact).square().mean() / (exact.mean() * 50 / 100)
    assert wrong == pytest.approx(1, rel=0.1)


def test_light_that_goes_astray_is_not_lost():
    x = torch.randn(5, 20, dtype=torch.float64)
    astray = replace(ideal(), scattering=Scattering(instability=1.0))
    found = OPUMap(20_000, device=astray).transform(x)
    torch.testing.assert_close(found.mean(1), x.square().sum(1), rtol=0.03, atol=0)


def test_it_is_a_layer():
    torch.manual_seed(0)
    x = (torch.rand(600, 12) < 0.5).float()
    y = x[:, :2].sum(1).remainder(2)  # which no linear map of x tells

    def told(features):
        """Return the share of the second half that a linear map fitted to the first half tells."""
        wide = torch.cat([(features - features.mean(0)) / features.std(0), torch.ones(600, 1)], 1)
        solution = torch.linalg.lstsq(wide[:300], y[:300, None] * 2 - 1).solution
        return ((wide[300:] @ solution > 0).flatten() == (y[300:] > 0)).double().mean()

    assert told(x) < 0.65
    assert told(OPUMap(120).fit_transform(x)) > 0.9
    model = nn.Sequential(OPUMap(16), nn.Linear(16, 2))
    loss = nn.functional.cross_entropy(model(x), y.long())
    loss.backward()
    assert model[1].weight.grad is not None
    assert not list(model[0].parameters())
    assert not model[0].state_dict()
    assert "n_components=16, seed=0" in repr(model)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_does_not_coarsen_it(dtype):
    x = (torch.rand(5, 2000) < 0.5).float()
    device = replace(ideal(), camera=Camera(photons=1e5))
    exact = OPUMap(50, device).transform(x)
    with torch.autocast("cpu", dtype):
        assert torch.equal(OPUMap(50, device).transform(x), exact)
    assert OPUMap(50, device).transform(x.to(dtype)).dtype is torch.float32


def test_a_compiled_model_has_it_too():
    x = (torch.rand(5, 12) < 0.5).float()
    model = nn.Sequential(OPUMap(8), nn.Linear(8, 2))
    expected = copy.deepcopy(model)(x)
    torch.testing.assert_close(torch.compile(model, backend="eager")(x), expected)


BINARY = np.random.default_rng(0).integers(0, 2, (5, 12))


@pytest.mark.parametrize(
    ("rows", "dtype"),
    [
        (BINARY, np.float32),
        (BINARY.astype(bool), np.float32),
        (BINARY.astype(np.uint16), np.float64),
        (BINARY.astype(np.float16), np.float32),
        (BINARY.astype(np.longdouble), np.float64),
        (BINARY.astype(">f8"), np.float64),
        (BINARY[::-1, ::-1][::-1, ::-1], np.float32),
        (BINARY.tolist(), np.float32),
    ],
    ids=["int", "bool", "uint16", "float16", "longdouble", "big-endian", "strides", "list"],
)
def test_arrays_give_arrays(rows, dtype):
    expected = OPUMap(30).transform(torch.from_numpy(BINARY.astype(dtype)))
    found = OPUMap(30).fit_transform(rows)
    assert isinstance(found, np.ndarray)
    assert found.dtype == dtype
    assert (found == expected.numpy()).all()
    assert isinstance(OPUMap(30).linear_transform(rows), np.ndarray)
    with pytest.raises(bp.UserError, match="fitted to 12 features, not 2"):
        OPUMap(30).fit(rows).transform(np.zeros((3, 2)))


def test_arrays_that_are_read_only_are_left_alone():
    rows = BINARY.copy()
    rows.flags.writeable = False
    OPUMap(4).transform(rows)
    assert (rows == BINARY).all()


@pytest.mark.parametrize(
    "rows",
    [[["a", "b"]], [[1, 2], [3]], np.ones((2, 3), complex), [[None, 1.0]], {"a": 1}, None],
    ids=["text", "uneven", "complex", "missing", "dict", "none"],
)
def test_what_is_no_array_of_real_numbers_is_named(rows):
    with pytest.raises(bp.UserError, match="rows must be an array of real numbers") as raised:
        OPUMap(4).transform(rows)
    assert "\n" not in str(raised.value)


def test_a_pipeline_can_call_copy_and_change_it():
    """What scikit-learn's `clone`, `Pipeline` and `GridSearchCV` ask of a step."""
    first = OPUMap(8, device=ideal(), seed=3)
    params = first.get_params()
    second = OPUMap(**copy.deepcopy(params))
    again = second.get_params()
    assert OPUMap(**again).get_params()["device"] is again["device"]
    x, y = np.random.default_rng(0).normal(size=(4, 6)), np.zeros(4)
    assert (first.fit(x, y).transform(x) == second.fit_transform(x, y)).all()
    assert second.set_params(n_components=5, seed=1) is second
    assert (second.transform(x) == OPUMap(5, device=ideal(), seed=1).transform(x)).all()
    with pytest.raises(bp.UserError, match="OPUMap has no 'gamma': it has n_components, device"):
        second.set_params(gamma=1)
    with pytest.raises(bp.UserError, match="a seed must be a whole number"):
        second.set_params(n_components=7, seed=-1)
    assert second.n_components == 5


@pytest.mark.foreign
def test_scikit_learns_pipelines():
    base = pytest.importorskip("sklearn.base")
    pipeline = pytest.importorskip("sklearn.pipeline")
    linear = pytest.importorskip("sklearn.linear_model")
    x = np.random.default_rng(0).integers(0, 2, (200, 12)).astype(float)
    y = x[:, :2].sum(1) % 2
    made = pipeline.make_pipeline(OPUMap(100), linear.RidgeClassifier())
    score = base.clone(made).set_params(opumap__n_components=120).fit(x, y).score(x, y)
    assert score > 0.9


def test_bad_input():
    for x in (torch.tensor(1.0), torch.zeros(2, 6, dtype=torch.complex64)):
        with pytest.raises(bp.UserError, match="rows of real numbers"):
            OPUMap(4).transform(x)
    with pytest.raises(bp.UserError, match="fitted to 5 features, not 6"):
        OPUMap(4).fit(n_features=5).transform(torch.zeros(2, 6))
    with pytest.raises(bp.UserError, match="fitted to 5 features, not 6"):
        OPUMap(4).fit(torch.zeros(2, 5)).linear_transform(torch.zeros(2, 6))
    with pytest.raises(bp.UserError, match="Binary shows only the numbers 0 and 1"):
        OPUMap(4).transform(torch.full((2, 6), 0.5))
    with pytest.raises(bp.UserError, match="intensities do not add up"):
        OPUMap(4, replace(ideal(), encoder=BitPlanes())).transform(torch.zeros(2, 6))
    with pytest.raises(bp.UserError, match="NaN or infinite"):
        OPUMap(4, ideal()).transform(torch.full((2, 6), float("nan")))
    for wrong in (4.5, "4", True, 0):
        with pytest.raises(bp.UserError, match="n_components must be a whole number from 1"):
            OPUMap(wrong)
    assert OPUMap(np.int64(4)).transform(torch.zeros(2, 6)).shape == (2, 4)
    with pytest.raises(bp.UserError, match="1 to 2,073,600 outputs"):
        OPUMap(3_000_000).transform(torch.zeros(2, 6))
