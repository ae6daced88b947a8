"""Random features as layers: their values, the kernel they approximate, and the gradients."""

import copy
import math
import pickle
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import beyondprop as bp
from beyondprop.engine.untouched import untouched
from beyondprop.optics import (
    CalibratedFeatures,
    Camera,
    OpticalFeatures,
    OPUMap,
    Ternary,
    ideal,
    lighton_opu,
)
from tests.reference import random_features as reference

both = pytest.mark.parametrize("kind", [OpticalFeatures, CalibratedFeatures])


def exact_matrix(layer, inputs):
    light = layer.light
    like = torch.empty(1, inputs, dtype=torch.float64)
    medium = light.projection.medium(like, light.n_components, 0)
    return (medium.matrix() * math.sqrt(light.n_components / 2)).numpy()


@both
def test_features_are_those_of_the_formula(kind):
    x = torch.randn(3, 2, 6, dtype=torch.float64)
    layer = kind(7, (0.0, 0.8), ideal(), seed=4)
    found = layer(x)
    matrix = exact_matrix(layer, 12)
    rows = [reference.mirrors(row.tolist(), (0.0, 0.8)) for row in x.flatten(0, 1)]
    assert layer.mirrors(x).flatten(0, 1).tolist() == rows
    expected = torch.tensor([reference.features(row, matrix) for row in rows])
    torch.testing.assert_close(found.flatten(0, 1), expected.double())
    assert found.shape == (3, 2, 7)


def test_the_kernel_within_sampling_error():
    """The error of a mean over n features falls as 1/√n: four deviations are never passed."""
    torch.manual_seed(1)
    count = 40_000
    x = torch.randn(5, 16, dtype=torch.float64)
    layer = OpticalFeatures(count, (0.0, 1.0), ideal(), seed=1)
    products = layer(x).unsqueeze(1) * layer(x)
    found, error = products.mean(2), products.std(2) / math.sqrt(count)
    rows = layer.mirrors(x).tolist()
    exact = torch.tensor([[reference.kernel(a, b) for b in rows] for a in rows]).double()
    assert ((found - exact).abs() < 4 * error).all()
    raw = OPUMap(count, layer.light.projection.device, seed=2).transform(layer.mirrors(x))
    products = raw.unsqueeze(1) * raw
    exact = torch.tensor([[reference.intensity_kernel(a, b) for b in rows] for a in rows])
    error = products.std(2) / math.sqrt(count)
    assert ((products.mean(2) - exact.double()).abs() < 4 * error).all()


def test_mean_variance_and_scale():
    x = torch.rand(6, 100)
    layer = OpticalFeatures(20_000, (0.5,), seed=3)
    found = layer(x)
    assert found.dtype is torch.float32
    torch.testing.assert_close(found.mean(1), torch.zeros(6), rtol=0, atol=0.05)
    torch.testing.assert_close(found.var(1), torch.ones(6), rtol=0, atol=0.1)
    again = OpticalFeatures(20_000, (0.5,), seed=3)
    assert torch.equal(again(x * 2.0**-20), found)


@both
def test_dark_rows_give_zeros(kind):
    layer = kind(9)
    assert not layer(torch.zeros(2, 5)).any()
    x = torch.zeros(2, 5, requires_grad=True)
    if kind is CalibratedFeatures:
        layer(x).sum().backward()
        assert x.grad is not None
        assert x.grad.isfinite().all()


def test_whole_numbers_and_single_rows():
    x = torch.randint(0, 9, (4, 10))
    layer = OpticalFeatures(8, (1.0,), ideal())
    assert torch.equal(layer(x), layer(x.float()))
    assert layer(x[0]).shape == (8,)


def test_no_gradient_passes_the_light():
    x = torch.randn(4, 10, requires_grad=True)
    loss = OpticalFeatures(8)(x).sum()
    with pytest.raises(bp.UserError, match="no gradient passes back through the light") as raised:
        loss.backward()
    assert "\n" not in str(raised.value)
    assert not OpticalFeatures(8)(x.detach()).requires_grad
    assert not list(OpticalFeatures(8).parameters())


def test_calibrated_goes_forward_alike_and_back_by_the_model():
    x = torch.randn(4, 10, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(30, dtype=torch.float64)
    layer = CalibratedFeatures(30, (0.0, 0.5), seed=2)
    found = layer(x)
    assert torch.equal(found, OpticalFeatures(30, (0.0, 0.5), seed=2)(x.detach()))
    (gradient,) = torch.autograd.grad((found * weight).sum(), x)

    # The model: |R b|² / |b|² - 1 by complex numbers, whose slope at each mirror is the image's.
    b = layer.mirrors(x).detach().requires_grad_()
    matrix = torch.from_numpy(exact_matrix(layer, 20))
    modelled = (b.to(matrix.dtype) @ matrix).abs().square() / b.square().sum(1, keepdim=True) - 1
    (slope,) = torch.autograd.grad((modelled * weight).sum(), b)
    torch.testing.assert_close(gradient, slope[:, :10] + slope[:, 10:])


@both
def test_determined_by_the_seed(kind):
    x = torch.randn(4, 10)
    first, second, other = kind(30, seed=5), kind(30, seed=5), kind(30, seed=6)
    seen = first(x)
    assert torch.equal(seen, second(x))
    assert not torch.equal(seen, other(x))
    assert not torch.equal(first(x), seen)  # the noise goes on
    assert int(first.shots) == 8


@both
def test_a_checkpoint_brings_back_medium_and_noise(kind):
    x = torch.randn(4, 10)
    first, second = kind(30, seed=5), kind(30, seed=6)
    first(x)
    second(x)
    assert sorted(first.state_dict()) == ["_extra_state", "seed", "shots"]
    second.load_state_dict(first.state_dict())
    third, fourth = copy.deepcopy(first), pickle.loads(pickle.dumps(first))
    seen = first(x)
    for other in (second, third, fourth):
        assert torch.equal(other(x), seen)


def test_a_measure_leaves_no_trace():
    x = torch.randn(4, 10)
    model = nn.Sequential(OpticalFeatures(30, seed=5), nn.Linear(30, 2))
    with untouched(model):
        seen = model(x)
    assert int(model[0].shots) == 0
    assert torch.equal(model(x), seen)


def network():
    features = nn.Sequential(nn.Linear(10, 12), nn.Tanh())
    return nn.Sequential(features, nn.Sequential(OpticalFeatures(40), nn.Linear(40, 3)))


@pytest.mark.parametrize(
    "rule",
    [bp.DirectFeedbackAlignment(), bp.DirectRandomTargetProjection(), bp.DirectKolenPollack()],
)
def test_rules_that_cut_teach_what_stands_before_it(rule):
    model = network()
    handle = bp.attach(model, rule)
    x, y = torch.randn(6, 10), torch.randint(3, (6,))
    with handle.targets(y):
        F.cross_entropy(model(x), y).backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())


def test_frozen_leaves_it_and_backprop_is_refused():
    x, y = torch.randn(6, 10), torch.randint(3, (6,))
    model = network()
    bp.attach(model, bp.Frozen())
    F.cross_entropy(model(x), y).backward()
    assert [p.grad is None for p in model.parameters()] == [True, True, False, False]
    for rule in (bp.Backprop(), bp.FeedbackAlignment()):
        model = network()
        bp.attach(model, rule)
        with pytest.raises(bp.UserError, match="DirectFeedbackAlignment, or use Calibrated"):
            F.cross_entropy(model(x), y).backward()


def test_the_devices_encoder_is_not_used():
    x = torch.randn(4, 10)
    for encoder in (Ternary(), ideal().encoder):
        device = replace(ideal(), encoder=encoder, camera=Camera(photons=50, shot_noise=True))
        assert OpticalFeatures(6, device=device)(x).shape == (4, 6)
    assert OpticalFeatures(6).light.projection.device.camera == lighton_opu().camera


def test_bad_input():
    for thresholds in ((), (math.nan,), (0.0, math.inf)):
        with pytest.raises(bp.UserError, match="one or more finite numbers"):
            OpticalFeatures(4, thresholds)
    with pytest.raises(bp.UserError, match="1 to 2,073,600 outputs"):
        OpticalFeatures(3_000_000)(torch.zeros(2, 6))
    with pytest.raises(bp.UserError, match="NaN or infinite"):
        OpticalFeatures(4)(torch.full((2, 6), math.nan))


@both
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_changes_nothing(kind, dtype):
    x = torch.randn(4, 10)
    exact = kind(30, seed=5)(x)
    with torch.autocast("cpu", dtype):
        assert torch.equal(kind(30, seed=5)(x), exact)
        x.requires_grad_()
        found = kind(30, seed=5)(x)
        if kind is CalibratedFeatures:
            found.sum().backward()
            assert x.grad.isfinite().all()


@both
def test_a_state_of_other_thresholds_or_another_device_is_refused(kind):
    saved = kind(30, seed=5).state_dict()
    for other in (kind(30, (0.5,), seed=5), kind(30, device=ideal(), seed=5)):
        with pytest.raises(bp.UserError, match="other thresholds or another device"):
            other.load_state_dict(saved)


@both
def test_seeds_and_shapes_that_cannot_be(kind):
    for seed in (-1, 1.5, 2**63):
        with pytest.raises(bp.UserError, match="a seed must be a whole number from 0"):
            kind(30, seed=seed)
    for x in (torch.tensor(1.0), torch.zeros(3, 0), torch.zeros(2, 5, dtype=torch.complex64)):
        with pytest.raises(bp.UserError, match="rows of real numbers"):
            kind(30)(x)
