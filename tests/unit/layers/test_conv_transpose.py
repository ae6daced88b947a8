"""Convolutions, transposed ones too, against plain autograd and against the reference."""

import itertools

import numpy as np
import pytest
import torch
from tests.reference import transposed_convolution
from torch import nn
from transport import Only, Transport, assert_transported, feedback_of, rand

import beyondprop as bp

CONVS = [nn.Conv1d, nn.Conv2d, nn.Conv3d]
TRANSPOSED = [nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d]
SIZE = (6, 5, 4)

LAYOUTS = [
    {},
    {"stride": 2},
    {"padding": 1},
    {"padding": "same"},
    {"padding": "same", "kernel_size": 2},
    {"padding": "valid"},
    {"dilation": 2},
    {"groups": 2},
    {"groups": 4},
    {"bias": False},
    {"stride": 2, "padding": 1, "dilation": 2, "groups": 2, "bias": False},
    *({"padding": 1, "padding_mode": mode} for mode in ("circular", "reflect", "replicate")),
    {"padding": "same", "kernel_size": 2, "padding_mode": "circular"},
    {"padding": 1, "stride": 2, "padding_mode": "replicate", "groups": 2},
]


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("kind", CONVS)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")  # the plain layer's
def test_weight_transport_is_backprop(kind, layout, batched):
    layer = kind(4, 8, **{"kernel_size": 3, **layout}).double()
    size = [n + 2 * (layout.get("dilation", 1) - 1) for n in SIZE[: layer.weight.dim() - 2]]
    x = rand(*([2] if batched else []), 4, *size)
    assert_transported(layer, lambda model: model(x), [x])


TRANSPOSED_LAYOUTS = [
    {},
    {"stride": 2},
    {"padding": 1},
    {"stride": 2, "output_padding": 1},
    {"dilation": 2},
    {"groups": 2},
    {"bias": False},
    {"stride": 3, "padding": 2, "output_padding": 1, "dilation": 2, "groups": 2, "bias": False},
]


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("layout", TRANSPOSED_LAYOUTS, ids=str)
@pytest.mark.parametrize("kind", TRANSPOSED)
def test_weight_transport_is_backprop_transposed(kind, layout, batched):
    layer = kind(4, 6, 3, **layout).double()
    x = rand(*([2] if batched else []), 4, *SIZE[: layer.weight.dim() - 2])
    assert_transported(layer, lambda model: model(x), [x])


@pytest.mark.parametrize("layout", TRANSPOSED_LAYOUTS, ids=str)
@pytest.mark.parametrize(
    ("kind", "size"), [(nn.ConvTranspose1d, (4,)), (nn.ConvTranspose2d, (3, 2))]
)
def test_products_equal_the_reference(kind, size, layout):
    layer = kind(2, 4, 2, **layout).double()
    model = Only(layer)
    bp.attach(model, bp.FeedbackAlignment(), blocks=["layer"])
    x = rand(2, 2, *size)
    output = model(x)
    error = torch.randn_like(output)
    output.backward(error)
    weight = layer.weight.detach().numpy()
    geometry = layer.stride, layer.dilation, layer.padding, layer.groups
    bias = None if layer.bias is None else layer.bias.detach().numpy()
    expected = transposed_convolution.output(
        x.detach().numpy(), weight, bias, output.shape[2:], *geometry
    )
    np.testing.assert_allclose(output.detach().numpy(), expected, rtol=1e-9, atol=1e-12)
    behind, own, for_bias = transposed_convolution.products(
        x.detach().numpy(), weight, feedback_of(layer).numpy(), error.numpy(), *geometry
    )
    np.testing.assert_allclose(x.grad.numpy(), behind, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(layer.weight.grad.numpy(), own, rtol=1e-9, atol=1e-12)
    if bias is not None:
        np.testing.assert_allclose(layer.bias.grad.numpy(), for_bias, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("leading", [True, False])  # PyTorch takes the size with its channels too
def test_output_sizes_as_the_plain_layer_has_them(batched, leading):
    layer = nn.ConvTranspose2d(4, 6, 3, stride=(3, 2), padding=1, dilation=(1, 2)).double()
    x = rand(*([2] if batched else []), 4, 4, 3)
    least = layer(x).shape
    for more in itertools.product(range(3), range(2)):
        size = [n + m for n, m in zip(least[-2:], more, strict=True)]
        full = [*least[:-2], *size] if leading else size
        assert_transported(layer, lambda model, size=full: model(x, output_size=size), [x])


@pytest.mark.parametrize("wanted", [(9, 9), (6, 7), (7,), (7, 7, 7, 7, 7)])
def test_output_sizes_out_of_reach_are_refused_in_one_sentence(wanted):
    """The plain layer refuses them too."""
    layer = nn.ConvTranspose2d(4, 6, 3, stride=2)  # from 3 to 7 or 8
    x = torch.randn(2, 4, 3, 3)
    with pytest.raises((ValueError, RuntimeError)):
        layer(x, output_size=wanted)
    model = Only(layer)
    bp.attach(model, Transport(), blocks=["layer"])
    with pytest.raises(bp.UserError, match=r"output_size .* cannot be reached") as caught:
        model(x, output_size=wanted)
    assert "\n" not in str(caught.value)
