"""SoftHebb against its slow reference, and what is known of it."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference import soft_hebb
from torch import nn

import beyondprop as bp

EXACT = {"rtol": 1e-9, "atol": 1e-12}


def rows(tensor):
    """Return a weight as the reference takes it: (neurons, inputs of each)."""
    return tensor.detach().numpy().reshape(len(tensor), -1)


def taught(model, x, rule):
    """Attach the rule, run one pass, and return the handle."""
    handle = bp.attach(model, rule)
    model(x).square().mean().backward()
    return handle


sizes = given(
    widths=st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 4)),
    batch=st.integers(1, 5),
    temperature=st.sampled_from([0.1, 0.7, 3.0]),
    power=st.sampled_from([0.0, 0.2, 1.0]),
    anti=st.booleans(),
    scale=st.sampled_from([0.3, 3.0]),
    seed=st.integers(0, 2**16),
)


@settings(max_examples=25, deadline=None)
@sizes
def test_linear_layers_equal_the_reference(widths, batch, temperature, power, anti, scale, seed):
    torch.manual_seed(seed)
    a, b, c = widths
    model = nn.Sequential(nn.Linear(a, b), nn.Tanh(), nn.Linear(b, c), nn.Linear(c, 2)).double()
    with torch.no_grad():
        model[0].weight.mul_(scale)
    x = torch.randn(batch, a, dtype=torch.float64)
    taught(model, x, bp.SoftHebb(temperature, power, anti))
    for layer, given_to in ((model[0], x), (model[2], model[1](model[0](x)))):
        expected = soft_hebb.gradient(
            rows(layer.weight), given_to.detach().numpy(), temperature, power, anti
        )
        np.testing.assert_allclose(rows(layer.weight.grad), expected, **EXACT)
        assert not layer.bias.grad.any()


@settings(max_examples=25, deadline=None)
@given(
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.integers(1, 2),
    dilation=st.integers(1, 2),
    padding=st.integers(0, 2),
    mode=st.sampled_from(["zeros", "reflect", "replicate", "circular"]),
    channels=st.tuples(st.integers(1, 3), st.integers(1, 4)),
    seed=st.integers(0, 2**16),
)
def test_convolutions_equal_the_reference(kernel, stride, dilation, padding, mode, channels, seed):
    torch.manual_seed(seed)
    layer = nn.Conv2d(*channels, kernel, stride, padding, dilation, padding_mode=mode).double()
    model = nn.Sequential(layer, nn.ReLU(), nn.Flatten(), nn.LazyLinear(2, dtype=torch.float64))
    x = torch.randn(2, channels[0], 5, 6, dtype=torch.float64)
    model(x)
    taught(model, x, bp.SoftHebb(0.6, 0.5))
    style = {"zeros": "constant", "replicate": "edge", "circular": "wrap"}.get(mode, mode)
    around = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    padded = np.pad(x.numpy(), around, mode=style)
    seen = soft_hebb.patches(padded, kernel, (stride,) * 2, (dilation,) * 2, (0, 0))
    expected = soft_hebb.gradient(rows(layer.weight), seen, 0.6, 0.5)
    np.testing.assert_allclose(rows(layer.weight.grad), expected, **EXACT)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("padding", ["same", "valid", 1])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_convolutions_of_every_kind_equal_the_reference(dims, padding):
    torch.manual_seed(dims)
    kind = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[dims]
    layer = kind(2, 3, 2, padding=padding).double()
    model = nn.Sequential(layer, nn.Flatten(), nn.LazyLinear(2, dtype=torch.float64))
    x = torch.randn(2, 2, *[3] * dims, dtype=torch.float64)
    model(x)
    taught(model, x, bp.SoftHebb())
    sides = {"same": (0, 1), "valid": (0, 0), 1: (1, 1)}[padding]
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), *[sides] * dims))
    ones = (1,) * dims
    seen = soft_hebb.patches(padded, (2,) * dims, ones, ones, (0,) * dims)
    expected = soft_hebb.gradient(rows(layer.weight), seen, 1.0, 0.5)
    np.testing.assert_allclose(rows(layer.weight.grad), expected, **EXACT)


def test_every_token_is_an_input():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)).double()
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    taught(model, x, bp.SoftHebb())
    expected = soft_hebb.gradient(rows(model[0].weight), x.flatten(0, 1).numpy(), 1.0, 0.5)
    np.testing.assert_allclose(rows(model[0].weight.grad), expected, **EXACT)


@pytest.mark.parametrize("schedule", [False, True], ids=["joint", "immediate"])
def test_plain_sgd_makes_the_published_updates(schedule):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.045)
    handle = bp.attach(model, bp.SoftHebb(0.5, 0.2))
    if schedule:
        handle.follow(bp.Immediate(optimizer))
    weight = rows(model[0].weight).copy()
    for number in range(6):
        x = torch.randn(5, 4, dtype=torch.float64)
        optimizer.zero_grad()
        F.cross_entropy(model(x), torch.tensor([0, 1, 2, 1, 0])).backward()
        optimizer.step()
        change = soft_hebb.change(weight, x.numpy(), 0.5)
        rates = 0.045 * soft_hebb.rates(weight, 0.2)[:, None]
        weight = weight + rates * change / (abs(change).max() + soft_hebb.SMALLEST)
        np.testing.assert_allclose(rows(model[0].weight), weight, **EXACT, err_msg=str(number))


def network():
    """Return the first two layers of the published kind of network."""
    torch.manual_seed(1)
    return nn.Sequential(
        nn.BatchNorm2d(2, affine=False),
        nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect", bias=False),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(4, affine=False),
        nn.Sequential(nn.Conv2d(4, 5, 2, stride=2, bias=False), nn.ReLU()),
        nn.Flatten(),
        nn.Linear(20, 3),
    ).double()


def images(n=3):
    torch.manual_seed(2)
    return torch.randn(n, 2, 8, 8, dtype=torch.float64)


def test_what_stands_before_the_layer_runs_again_and_counts_once():
    model, plain, x = network(), network(), images()
    handle = taught(model, x, bp.SoftHebb(0.7))
    assert [block.name for block in handle.blocks] == ["1", "5", "7"]
    plain(x)
    for name, buffer in plain.named_buffers():
        torch.testing.assert_close(model.get_buffer(name), buffer, rtol=0, atol=0)
    seen = F.batch_norm(x, None, None, training=True)
    padded = np.pad(seen.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)), mode="reflect")
    patches = soft_hebb.patches(padded, (3, 3), (1, 1), (1, 1), (0, 0))
    expected = soft_hebb.gradient(rows(model[1].weight), patches, 0.7, 0.5)
    np.testing.assert_allclose(rows(model[1].weight.grad), expected, **EXACT)


def gradients(x, targets, factor=1.0):
    model = network()
    bp.attach(model, bp.SoftHebb())
    (factor * F.cross_entropy(model(x), targets)).backward()
    return model[1].weight.grad, model[5][0].weight.grad, model[7].weight.grad


def test_neither_labels_nor_the_loss_nor_later_layers_teach_hidden_layers():
    a = gradients(images(), torch.tensor([0, 1, 2]))
    b = gradients(images(), torch.tensor([2, 2, 1]), factor=7.0)
    assert torch.equal(a[0], b[0])
    assert torch.equal(a[1], b[1])
    assert not torch.equal(a[2], b[2])


def test_the_read_out_keeps_its_exact_gradient():
    plain = network()
    F.cross_entropy(plain(images()), torch.tensor([0, 1, 2])).backward()
    found = gradients(images(), torch.tensor([0, 1, 2]))[2]
    torch.testing.assert_close(found, plain[7].weight.grad)


def linear_gradient(weight, x, **arguments):
    model = nn.Sequential(nn.Linear(weight.shape[1], len(weight), bias=False), nn.Linear(3, 2))
    model = model.double()
    with torch.no_grad():
        model[0].weight.copy_(weight)
    taught(model, x, bp.SoftHebb(**arguments))
    return model[0].weight.grad


WEIGHT = torch.tensor([[2.0, 0.5], [-0.3, 1.9], [1.1, -1.6]], dtype=torch.float64)
INPUTS = torch.tensor([[0.4, -1.0], [0.9, 0.2], [-0.5, 0.8], [0.1, 0.3]], dtype=torch.float64)


def test_the_order_and_the_number_of_samples_do_not_matter():
    one = linear_gradient(WEIGHT, INPUTS)
    torch.testing.assert_close(linear_gradient(WEIGHT, INPUTS.flip(0)), one)
    torch.testing.assert_close(linear_gradient(WEIGHT, INPUTS.repeat(2, 1)), one)
    torch.testing.assert_close(linear_gradient(WEIGHT.flip(0), INPUTS), one.flip(0))


def test_the_largest_entry_is_the_rate_alone():
    assert linear_gradient(WEIGHT, INPUTS, power=0.0).abs().max() == pytest.approx(1, rel=1e-12)


def test_a_weight_of_length_one_stays():
    weight = torch.tensor([[0.6, 0.8], [3.0, 4.0], [0.0, 2.0]], dtype=torch.float64)
    found = linear_gradient(weight, INPUTS)
    assert found[0].abs().max() <= 1e-4
    assert found[1].abs().max() > 0.1


def test_at_high_temperature_all_neurons_weigh_alike():
    """With y = 1/K, and 2022's rule, ``ΔW = (Σ x - Σ u W) / K``."""
    found = linear_gradient(WEIGHT, INPUTS, temperature=1e9, power=0.0, anti=False)
    change = INPUTS.sum(0) - (INPUTS @ WEIGHT.T).sum(0)[:, None] * WEIGHT
    torch.testing.assert_close(found, -change / change.abs().max(), rtol=1e-6, atol=1e-6)


def test_a_winner_turns_to_the_input_at_length_one():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2)).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.8, 0.2], [-1.0, 0.8]]))
    before = model[0].weight[1].detach().clone()
    bp.attach(model, bp.SoftHebb(temperature=1e-3, power=1.0))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    direction = torch.tensor([[0.6, 0.8]], dtype=torch.float64)
    for _ in range(600):
        optimizer.zero_grad()
        model(direction).sum().backward()
        optimizer.step()
    winner = model[0].weight[0].detach()
    assert F.cosine_similarity(winner, direction[0], dim=0) > 0.95
    assert winner.norm() == pytest.approx(1, abs=0.01)
    torch.testing.assert_close(model[0].weight[1].detach(), before)


def test_half_precision_learns_from_single():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 6), nn.Linear(6, 2)).bfloat16()
    single = copy.deepcopy(model).float()
    x = torch.randn(4, 8).bfloat16()
    taught(model, x, bp.SoftHebb())
    taught(single, x.float(), bp.SoftHebb())
    torch.testing.assert_close(model[0].weight.grad, single[0].weight.grad.bfloat16())


class Twice(nn.Sequential):
    """A chain with a forward pass of its own."""

    def forward(self, x):
        return super().forward(super().forward(x))


class Drop(nn.Module):
    """A module of a user's with a dropout inside."""

    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        return self.drop(x)


@pytest.mark.parametrize(
    ("first", "said"),
    [
        ((nn.Conv2d(4, 4, 3, groups=2),), "'0' must have groups=1"),
        ((nn.ConvTranspose2d(4, 4, 3),), "'0' is a ConvTranspose2d"),
        ((nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3)), "'0' is a BatchNorm2d"),
        ((nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)), "'1' in its block has parameters too"),
        ((nn.Sequential(nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3)),), "'0.1' in its block has"),
        ((Twice(nn.Conv2d(4, 4, 3)),), "'0' has its own forward method"),
        ((nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 3)),), "is a Parametrized"),
        ((nn.Dropout(), nn.Conv2d(4, 4, 3)), "runs '0' a second time"),
        ((Drop(), nn.Conv2d(4, 4, 3)), "runs '0' a second time"),
        ((nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3)), "runs '0' a second time"),
    ],
    ids=[
        "groups",
        "transposed",
        "norm-first",
        "affine",
        "two",
        "twice",
        "norm",
        "drop",
        "own",
        "in-place",
    ],
)
def test_blocks_that_it_cannot_teach(first, said):
    model = nn.Sequential(*first, nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(bp.AttachError, match=said):
        bp.attach(model, bp.SoftHebb())


def test_what_waits_for_a_gradient_from_it_is_refused():
    model = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 5), nn.Linear(5, 2))
    rules = {"0": bp.Backprop(), "*": bp.SoftHebb()}
    with pytest.raises(bp.UserError, match="'0' would never learn"):
        bp.attach(model, rules)
    assert bp.attachment_of(model) is None
    model[0].requires_grad_(False)
    bp.attach(model, rules).remove()
    bp.attach(model.requires_grad_(), {"0": bp.Frozen(), "*": bp.SoftHebb()})


def test_each_block_may_have_a_temperature_of_its_own():
    x, y = images(), torch.tensor([0, 1, 2])
    found = []
    for rule in (
        bp.SoftHebb((0.3, 2.0)),
        bp.rules.make({"rule": "softhebb", "temperature": [0.3, 2.0]}),
        {"1": bp.SoftHebb(0.3), "5": bp.SoftHebb(2.0), "*": bp.Backprop()},
    ):
        model = network()
        bp.attach(model, rule)
        F.cross_entropy(model(x), y).backward()
        found.append([p.grad for p in model.parameters()])
    assert bp.rules.make(bp.SoftHebb((0.3, 2.0)).settings()) == bp.SoftHebb((0.3, 2.0))
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=0, atol=0)
    with pytest.raises(bp.UserError, match="teaches 2 blocks, so it takes 2 temperatures"):
        bp.attach(network(), bp.SoftHebb((0.3, 2.0, 1.0)))


@pytest.mark.parametrize("temperature", [0.0, (1.0, -1.0), -1.0, float("nan")])
def test_a_temperature_must_be_positive(temperature):
    with pytest.raises(bp.UserError, match="temperature of SoftHebb must be a number above 0 or"):
        bp.SoftHebb(temperature)


def test_the_report_says_what_does_not_learn():
    model = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 5, bias=False), nn.Linear(5, 2))
    with torch.no_grad():
        model[1].weight.mul_(10)
    rows = [row.change for row in bp.attach(model, bp.SoftHebb()).report.rows]
    assert "its bias does not learn" in rows[0]
    assert "all norms of its weights are below 1" in rows[0]
    assert "bias" not in rows[1]
    assert "norms" not in rows[1]
