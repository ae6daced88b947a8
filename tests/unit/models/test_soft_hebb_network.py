"""The networks of SoftHebb."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.reference import soft_hebb
from torch import nn

import beyondprop as bp
from beyondprop.models.soft_hebb import Triangle, soft_hebb_mlp, soft_hebb_network
from beyondprop.tasks.soft_hebb import RATES, sgd_by_layer


@pytest.mark.parametrize("power", [0.7, 1.0, 1.4])
@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 2), (2, 3, 2, 2)])
def test_triangle_equals_the_reference(power, shape):
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=torch.float64)
    found = Triangle(power)(x)
    expected = np.stack([soft_hebb.triangle(sample, power) for sample in x.numpy()])
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-200)


@pytest.mark.parametrize("power", [0.7, 1.0, 1.4])
def test_triangle_has_a_finite_gradient_everywhere(power):
    x = torch.tensor([[1.0, -1.0, 0.0, 0.0]], requires_grad=True)
    Triangle(power)(x).sum().backward()
    assert x.grad.isfinite().all()
    assert x.grad.any()


@pytest.mark.parametrize(("channels", "side"), [(1, 28), (3, 32), (2, 8)])
def test_the_network_has_the_published_layers(channels, side):
    model = soft_hebb_network(channels, side, 1 / 16, 5.0)
    assert model(torch.randn(2, channels, side, side)).shape == (2, 10)
    kernels = [m.weight for m in model if isinstance(m, nn.Conv2d)]
    shapes = [(6, channels, 5, 5), (24, 6, 3, 3), (96, 24, 3, 3)]
    assert [tuple(kernel.shape) for kernel in kernels] == shapes
    for kernel in kernels:
        assert kernel.detach().flatten(1).norm(dim=1).mean() == pytest.approx(5, rel=0.25)


@pytest.mark.parametrize(("side", "width"), [(7, 0.25), (28, 0.001)])
def test_a_network_without_neurons_is_refused(side, width):
    with pytest.raises(bp.UserError, match="leave a layer empty"):
        soft_hebb_network(1, side, width)


def test_all_its_blocks_can_compete():
    for model, x in (
        (soft_hebb_network(1, 8, 1 / 16), torch.randn(4, 1, 8, 8)),
        (soft_hebb_mlp(5, 6, 2), torch.randn(4, 5)),
    ):
        handle = bp.attach(model, bp.SoftHebb())
        F.cross_entropy(model(x), torch.arange(4)).backward()
        assert all(p.grad.any() for p in model.parameters())
        assert all("by competition" in row.change for row in handle.report.rows[:-1])
        assert "norms of its weights are below 1" not in str(handle.report)


def test_each_convolution_learns_at_its_published_rate():
    model = soft_hebb_network(1, 28, 0.25)
    rates = {
        len(g["params"][0]): g["lr"] for g in sgd_by_layer(model.parameters(), 0.01).param_groups
    }
    assert rates == pytest.approx({**RATES, 10: 0.01})
    tenth = sgd_by_layer(list(model.parameters())[1:], 0.001).param_groups  # as of a stage
    assert [g["lr"] for g in tenth] == pytest.approx([0.0005, 0.001, 0.001, 0.001])
