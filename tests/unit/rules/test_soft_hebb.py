"""SoftHebb against its slow reference, and what is known of it."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from tests.reference import soft_hebb as reference
from torch import nn

import beyondprop as bp
from beyondprop.models.soft_hebb import Triangle, convolutional_network, dense_network

CLOSE = {"rtol": 1e-9, "atol": 1e-12}


def taught(model, x, rule, targets=None):
    """Return a model after one taught pass."""
    handle = bp.attach(model, rule)
    targets = torch.arange(len(x)) % 4 if targets is None else targets
    with handle.targets(targets):
        F.cross_entropy(model(x), targets).backward()
    return model


@given(
    widths=st.tuples(st.integers(1, 6), st.integers(2, 6)),
    rows=st.integers(1, 7),
    temperature=st.floats(0.1, 3),
    power=st.floats(0, 2),
    anti=st.booleans(),
)
def test_a_linear_layer_equals_the_reference(widths, rows, temperature, power, anti):
    torch.manual_seed(rows)
    model = nn.Sequential(nn.Linear(*widths), nn.Tanh(), nn.Linear(widths[1], 4)).double()
    x = torch.randn(rows, widths[0], dtype=torch.float64)
    taught(model, x, bp.SoftHebb(temperature, power, anti))
    expected = reference.gradient(
        model[0].weight.detach().numpy(), x.numpy(), temperature, power, anti
    )
    np.testing.assert_allclose(model[0].weight.grad, expected, **CLOSE)
    assert model[0].bias.grad is None
    assert model[2].weight.grad.any()


@pytest.mark.parametrize(
    "options",
    [
        {"padding": 1},
        {"stride": 2, "padding": (1, 2)},
        {"dilation": 2},
        {"padding": 1, "padding_mode": "reflect"},
    ],
    ids=str,
)
def test_a_convolution_equals_the_reference(options):
    torch.manual_seed(0)
    first = nn.Conv2d(2, 5, (2, 3), bias=False, **options)
    model = nn.Sequential(first, Triangle(0.7), nn.Flatten(), nn.LazyLinear(4)).double()
    x = torch.randn(3, 2, 6, 7, dtype=torch.float64)
    model(x)
    taught(model, x, bp.SoftHebb(0.7))
    layer, seen = model[0], x.numpy()
    padding = np.broadcast_to(layer.padding, (2,))
    if layer.padding_mode == "reflect":
        seen = np.pad(seen, ((0, 0), (0, 0), *[(p, p) for p in padding]), mode="reflect")
        padding = (0, 0)
    patches = reference.patches(seen, (2, 3), layer.stride, layer.dilation, padding)
    kernel = layer.weight.detach().numpy().reshape(5, -1)
    expected = reference.gradient(kernel, patches, 0.7, 0.5)
    np.testing.assert_allclose(layer.weight.grad.reshape(5, -1), expected, **CLOSE)


def test_plain_sgd_makes_the_published_update_in_every_layer():
    """Each layer learns from what the layers before it make, as they were before the step."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 4))
    model = model.double()
    rule, rate = bp.SoftHebb(0.5), 0.3
    handle = bp.attach(model, rule)
    optimizer = torch.optim.SGD(model.parameters(), rate)
    for step in range(3):
        x = torch.randn(8, 5, dtype=torch.float64)
        before = [model[i].weight.detach().clone().numpy() for i in (0, 2)]
        seen = [x.numpy(), model[:2](x).detach().numpy()]
        optimizer.zero_grad()
        F.cross_entropy(model(x), torch.arange(8) % 4).backward()
        optimizer.step()
        for i, weight, inputs in zip((0, 2), before, seen, strict=True):
            expected = weight - rate * reference.gradient(weight, inputs, 0.5, 0.5)
            np.testing.assert_allclose(model[i].weight.detach(), expected, **CLOSE, err_msg=step)
    handle.remove()


def test_neither_labels_nor_what_comes_after_are_seen():
    torch.manual_seed(0)
    x = torch.randn(6, 8)
    found = []
    for targets in (torch.zeros(6, dtype=torch.long), torch.arange(6) % 4):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(8, 5), nn.Tanh(), nn.Linear(5, 4))
        model[2].weight.data *= 1 + targets.sum()
        found.append(taught(model, x, bp.SoftHebb(), targets)[0].weight.grad)
    assert torch.equal(*found)


def test_running_statistics_count_a_batch_once():
    torch.manual_seed(0)
    x = 3 + torch.randn(50, 8)
    model = dense_network(8, [6], 4, radius=2.0)
    other = dense_network(8, [6], 4, radius=2.0)
    taught(model, x, bp.SoftHebb())
    other(x)
    torch.testing.assert_close(model[1].running_mean, other[1].running_mean)


def test_long_weights_shrink_towards_length_one():
    torch.manual_seed(0)
    model = dense_network(8, [6], 4, radius=3.0)
    bp.attach(model, bp.SoftHebb(0.25))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    norms = [model[2].weight.norm(dim=1)]
    for _ in range(300):
        x = torch.randn(32, 8)
        optimizer.zero_grad()
        F.cross_entropy(model(x), torch.arange(32) % 4).backward()
        optimizer.step()
    norms.append(model[2].weight.norm(dim=1))
    assert (norms[1] - 1).abs().mean() < 0.5 * (norms[0] - 1).abs().mean()


def test_the_published_network_is_taught_block_by_block():
    torch.manual_seed(0)
    model = convolutional_network(1, 10, 28, width=1 / 24)
    handle = bp.attach(model, bp.SoftHebb())
    assert len(handle.blocks) == 4
    x, y = torch.randn(4, 1, 28, 28), torch.arange(4)
    F.cross_entropy(model(x), y).backward()
    convolutions = [m for m in model if isinstance(m, nn.Conv2d)]
    assert [m.out_channels for m in convolutions] == [4, 16, 64]
    assert all(m.weight.grad.isfinite().all() and m.weight.grad.any() for m in convolutions)


def test_triangle_is_that_of_the_reference():
    u = torch.randn(2, 3, 4, dtype=torch.float64)
    found = Triangle(0.7)(u)
    for sample, expected in zip(found, u, strict=True):
        np.testing.assert_allclose(sample, reference.triangle(expected.numpy(), 0.7), **CLOSE)
    last = Triangle(1.4, channels_first=False)(u)
    torch.testing.assert_close(last, Triangle(1.4)(u.movedim(-1, 1)).movedim(1, -1))


@pytest.mark.parametrize(
    ("hidden", "said"),
    [
        (nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), "one nn.Linear or convolution a block"),
        (nn.Embedding(4, 4), "one nn.Linear or convolution a block"),
        (nn.ConvTranspose1d(4, 4, 1), "one nn.Linear or convolution a block"),
        (nn.Conv1d(4, 4, 1, groups=2), "no competition within the groups of '0'"),
    ],
    ids=["two", "embedding", "transposed", "groups"],
)
def test_blocks_that_do_not_compete_are_refused(hidden, said):
    with pytest.raises(bp.AttachError, match=said):
        bp.attach(nn.Sequential(hidden, nn.Linear(4, 4)), bp.SoftHebb())


@pytest.mark.parametrize("settings", [{"temperature": 0.0}, {"power": -1.0}])
def test_settings_without_meaning_are_refused(settings):
    with pytest.raises(bp.UserError, match="temperature= above 0"):
        bp.SoftHebb(**settings)
