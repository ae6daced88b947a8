"""Convolutions with a feedback kernel, against the reference and against plain autograd."""

import numpy as np
import pytest
import torch
from tests import internals
from tests.reference.convolution import products
from torch import nn

import beyondprop as bp

LAYOUTS = [
    {},
    {"stride": 2},
    {"padding": 1},
    {"dilation": 2},
    {"groups": 2},
    {"stride": 2, "padding": 1, "dilation": 2, "groups": 2, "bias": False},
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize(("kind", "size"), [(nn.Conv1d, (7,)), (nn.Conv2d, (6, 5))])
def test_products_equal_the_reference(kind, size, layout):
    torch.manual_seed(0)
    conv = kind(2, 4, 2, **layout).double()
    rule = bp.FeedbackAlignment()
    handle = bp.attach(nn.Sequential(conv), rule)
    x = torch.randn(2, 2, *size, dtype=torch.float64, requires_grad=True)
    output = handle.model(x)
    error = torch.randn_like(output)
    output.backward(error)
    behind, weight, bias = products(
        x.detach().numpy(),
        conv.weight.detach().numpy(),
        internals.feedback(conv, conv.weight).detach().numpy(),
        error.numpy(),
        conv.stride,
        conv.dilation,
        conv.padding,
        conv.groups,
    )
    np.testing.assert_allclose(x.grad.numpy(), behind, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(conv.weight.grad.numpy(), weight, rtol=1e-9, atol=1e-12)
    if conv.bias is not None:
        np.testing.assert_allclose(conv.bias.grad.numpy(), bias, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "layout",
    [
        {"padding": "same"},
        {"padding": "valid"},
        {"padding": "same", "dilation": 3},
        {"padding": 1, "padding_mode": "reflect"},
        {"padding": (1, 2), "padding_mode": "circular"},
        {"padding": "same", "padding_mode": "replicate"},
    ],
    ids=str,
)
@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")  # the plain layer's
def test_every_padding_runs_forward_and_learns_as_the_plain_layer(layout, batched):
    """Weight gradients of a single layer are exact under feedback alignment, so both must agree."""
    torch.manual_seed(0)
    conv = nn.Conv2d(2, 3, 2, **layout).double()
    x = torch.randn(*([2] if batched else []), 2, 6, 6, dtype=torch.float64)
    plain = conv(x)
    plain.square().sum().backward()
    expected = conv.weight.grad, conv.bias.grad
    conv.zero_grad()
    handle = bp.attach(nn.Sequential(conv), bp.FeedbackAlignment())
    output = handle.model(x)
    torch.testing.assert_close(output, plain)
    output.square().sum().backward()
    torch.testing.assert_close((conv.weight.grad, conv.bias.grad), expected)


def test_three_dimensions():
    torch.manual_seed(0)
    conv = nn.Conv3d(2, 2, 2).double()
    rule = bp.FeedbackAlignment()
    handle = bp.attach(nn.Sequential(conv), rule)
    x = torch.randn(1, 2, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    output = handle.model(x)
    output.sum().backward()
    behind, *_ = products(
        x.detach().numpy(),
        conv.weight.detach().numpy(),
        internals.feedback(conv, conv.weight).detach().numpy(),
        np.ones(output.shape),
        conv.stride,
        conv.dilation,
        conv.padding,
        conv.groups,
    )
    np.testing.assert_allclose(x.grad.numpy(), behind, rtol=1e-9, atol=1e-12)
