"""Rules whose feedback learns, over several steps, against their slow references in float64."""

from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import internals
from tests.reference import (
    direct_kolen_pollack,
    error_broadcast_decorrelation,
    feedback_alignment,
    kolen_pollack,
    weight_mirror,
)
from tests.reference.network import outer_products
from torch import nn

import beyondprop as bp
from beyondprop.random.streams import stream_of

LIKE = torch.zeros(1, dtype=torch.float64)
RATE = 0.2


def network(widths):
    layers = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.Tanh()]
    return nn.Sequential(*layers[:-1]).double()


def linears_of(model):
    return [m for m in model if isinstance(m, nn.Linear)]


def arrays(tensors):
    return [tensor.detach().numpy().copy() for tensor in tensors]


def weights_and_biases(model):
    linears = linears_of(model)
    return arrays(m.weight for m in linears), arrays(m.bias for m in linears)


def state(linear):
    return internals.at_weight(linear).state["feedback"]


def batch(widths, size):
    x = torch.randn(size, widths[0], dtype=torch.float64)
    return x, torch.randint(0, widths[-1], (size,))


def samples(x, y):
    return list(zip(x.numpy(), y.tolist(), strict=True))


def sgd(model, handle, decay):
    every = [*model.parameters(), *handle.parameters()]
    return torch.optim.SGD(every, lr=RATE, weight_decay=decay / RATE)


def train(model, optimizer, x, y):
    optimizer.zero_grad()
    F.cross_entropy(model(x), y).backward()
    optimizer.step()


def assert_equal(found, expected):
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


NETWORKS = {
    "widths": st.lists(st.sampled_from([2, 3, 4]), min_size=3, max_size=4),
    "size": st.integers(1, 3),
    "seed": st.integers(0, 2**16),
}


@settings(max_examples=10, deadline=None)
@given(**NETWORKS, decay=st.sampled_from([0.0, 0.01, 0.1]))
def test_kolen_pollack_over_twenty_steps(widths, size, seed, decay):
    torch.manual_seed(seed)
    model = network(widths)
    handle = bp.attach(model, bp.KolenPollack(bp.Dense(seed)))
    optimizer = sgd(model, handle, decay)
    linears = linears_of(model)
    weights, biases = weights_and_biases(model)
    feedback = [None, *arrays(state(m) for m in linears[1:])]
    for _ in range(20):
        x, y = batch(widths, size)
        train(model, optimizer, x, y)
        weights, biases, feedback = kolen_pollack.step(
            weights, biases, feedback, samples(x, y), RATE, decay
        )
    assert_equal(arrays(m.weight for m in linears), weights)
    assert_equal(arrays(m.bias for m in linears), biases)
    assert_equal(arrays(state(m) for m in linears[1:]), feedback[1:])


@pytest.mark.parametrize("decay", [0.0, 0.01, 0.1])
def test_kolen_pollack_closes_the_distance_by_the_decay_alone(decay):
    model = network([4, 5, 6, 3])
    handle = bp.attach(model, bp.KolenPollack())
    optimizer = sgd(model, handle, decay)
    taught = linears_of(model)[1:]
    before = [m.weight.detach() - state(m).detach() for m in taught]
    assert all(distance.norm() > 0.5 for distance in before)
    starts = [m.weight.detach().clone() for m in taught]
    for step in range(1, 41):
        train(model, optimizer, *batch([4, 3], 8))
        for m, distance in zip(taught, before, strict=True):
            expected = distance * (1 - decay) ** step
            torch.testing.assert_close(m.weight - state(m), expected, rtol=1e-9, atol=1e-12)
    assert all(not torch.allclose(m.weight, w) for m, w in zip(taught, starts, strict=True))


def test_kolen_pollack_begins_random_and_as_large_as_the_weight():
    model = network([40, 50, 60, 3])
    bp.attach(model, bp.KolenPollack())
    for m in linears_of(model):
        torch.testing.assert_close(state(m).norm(), m.weight.norm())
        assert F.cosine_similarity(state(m).flatten(), m.weight.flatten(), 0).abs() < 0.2


@pytest.mark.parametrize("kind", ["conv", "transposed", "attention", "cell"])
def test_kolen_pollack_closes_the_distance_in_every_operation(kind):
    """Where the input carries an error, feedback and weight get one gradient."""
    layer, shape = {
        "conv": (nn.Conv2d(4, 6, 3, groups=2), (2, 4, 5, 5)),
        "transposed": (nn.ConvTranspose1d(4, 6, 3, stride=2), (2, 4, 5)),
        "attention": (nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0), (3, 2, 4)),
        "cell": (Unrolled(), (2, 5, 4)),
    }[kind]
    model = nn.Sequential(layer).double()
    handle = bp.attach(model, bp.KolenPollack())
    optimizer = sgd(model, handle, 0.1)
    holders = internals.holders(handle).values()
    before = [h.weight().detach() - h.state["feedback"].detach() for h in holders]
    for _ in range(5):
        optimizer.zero_grad()
        x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
        model(x).square().mean().backward()
        optimizer.step()
    for holder, distance in zip(holders, before, strict=True):
        now = holder.weight() - holder.state["feedback"]
        torch.testing.assert_close(now, distance * 0.9**5, rtol=1e-9, atol=1e-12)


class Unrolled(nn.Module):
    """A recurrent cell over a sequence, from a state that was carried over and cut off."""

    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(4, 3)
        self.register_buffer("h", torch.linspace(-1, 1, 3))

    def forward(self, x):
        h = self.h.expand(len(x), -1)
        for t in range(x.shape[1]):
            h = self.cell(x[:, t], h)
        return h


@settings(max_examples=10, deadline=None)
@given(**NETWORKS)
def test_weight_mirror_over_several_steps(widths, size, seed):
    """The weights move between the passes, and the feedback after them."""
    torch.manual_seed(seed)
    model = network(widths)
    rule = bp.WeightMirror(bp.Dense(seed), decay=0.4, samples=3)
    handle = bp.attach(model, rule)
    optimizer = sgd(model, handle, 0.0)
    linears = linears_of(model)
    feedback = arrays(state(m) for m in linears)
    for number in range(1, 5):
        weights, biases = weights_and_biases(model)
        for layer, (linear, weight) in enumerate(zip(linears, weights, strict=True)):
            stream = internals.at_weight(linear).stream
            for phase in [*range(0 if number > 1 else 2), -1]:
                named = stream_of(f"{stream}, pass {number}, phase {phase}")
                noise = rule.noise.matrix(3, weight.shape[1], named, LIKE).numpy()
                feedback[layer] = weight_mirror.mirrored(
                    feedback[layer],
                    weight,
                    noise,
                    rule.decay if phase < 0 else 1 / (phase + 1),
                    1 / weight.shape[1],
                )
        x, y = batch(widths, size)
        train(model, optimizer, x, y)
        expected = outer_products(weights, biases, samples(x, y), weight_mirror.deltas(feedback))
        assert_equal(arrays(m.weight.grad for m in linears), [weight for weight, _ in expected])
        assert_equal(arrays(state(m) for m in linears[1:]), feedback[1:])


def cosine_after(passes, decay, layer, shape):
    model = nn.Sequential(layer)
    handle = bp.attach(model, bp.WeightMirror(decay=decay))
    for _ in range(passes):
        model(torch.zeros(shape, requires_grad=True))
    (holder,) = internals.holders(handle).values()
    found = holder.state["feedback"].flatten(), layer.weight.detach().flatten()
    handle.remove()
    return float(F.cosine_similarity(*found, 0))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(60, 40), (1, 60)),
        (nn.Conv2d(6, 8, 3, groups=2), (1, 6, 4, 4)),
        (nn.ConvTranspose2d(6, 8, 3), (1, 6, 4, 4)),
    ],
    ids=["linear", "conv", "transposed"],
)
def test_weight_mirror_aligns_the_better_the_smaller_its_decay(layer, shape):
    torch.nn.init.normal_(layer.weight)
    fast, usual, slow = (cosine_after(100, decay, layer, shape) for decay in (0.3, 0.03, 0.003))
    assert 0.9 < usual < slow
    assert fast < usual


def test_weight_mirror_forgets_its_random_beginning_before_the_first_pass():
    torch.manual_seed(0)
    assert cosine_after(0, 0.03, nn.Linear(60, 40), (1, 60)) < 0.2
    assert cosine_after(1, 0.03, nn.Linear(60, 40), (1, 60)) > 0.9


def direct_state(handle):
    holders = list(internals.holders(handle).values())
    return arrays(holder.state["feedback"] for holder in holders)


@settings(max_examples=10, deadline=None)
@given(**NETWORKS, decay=st.sampled_from([0.0, 0.1]))
def test_direct_kolen_pollack_over_several_steps(widths, size, seed, decay):
    torch.manual_seed(seed)
    model = network(widths)
    handle = bp.attach(model, bp.DirectKolenPollack(bp.Dense(seed)))
    optimizer = sgd(model, handle, decay)
    weights, biases = weights_and_biases(model)
    matrix, classes = handle.blocks[0].rule.projection.matrix, widths[-1]
    feedback = [
        matrix(classes, width, block.stream, LIKE).numpy()
        for width, block in zip(widths[1:-1], handle.blocks, strict=False)
    ]
    for _ in range(10):
        x, y = batch(widths, size)
        train(model, optimizer, x, y)
        weights, biases, feedback = direct_kolen_pollack.step(
            weights, biases, feedback, samples(x, y), RATE, decay
        )
    assert_equal(arrays(m.weight for m in linears_of(model)), weights)
    assert_equal(arrays(m.bias for m in linears_of(model)), biases)
    assert_equal(direct_state(handle), feedback)


def test_direct_kolen_pollack_as_in_the_released_code():
    """The feedback has an optimizer of its own, whose rate falls from epoch to epoch."""
    torch.manual_seed(0)
    model = network([4, 5, 6, 3])
    handle = bp.attach(model, bp.DirectKolenPollack(bp.Dense(1)))
    model(torch.zeros(1, 4, dtype=torch.float64))  # makes the matrices
    theirs = direct_kolen_pollack.Released(*weights_and_biases(model), direct_state(handle))
    ours = torch.optim.SGD(model.parameters(), 5e-4, 0.9, weight_decay=1e-6, nesterov=True)
    own = torch.optim.Adam(handle.parameters(), 1e-4, weight_decay=1e-6)
    schedule = torch.optim.lr_scheduler.StepLR(own, step_size=1, gamma=0.8)
    begun = direct_state(handle)
    for epoch in range(3):
        for _ in range(5):
            x, y = batch([4, 3], 5)
            ours.zero_grad()
            own.zero_grad()
            F.cross_entropy(model(x), y).backward()
            ours.step()
            own.step()
            theirs.step(samples(x, y), epoch)
        schedule.step()
    assert_equal(arrays(m.weight for m in linears_of(model)), theirs.weights)
    assert_equal(arrays(m.bias for m in linears_of(model)), theirs.biases)
    assert_equal(direct_state(handle), theirs.feedback)
    assert np.abs(begun[0] - theirs.feedback[0]).max() > 1e-4


def test_direct_kolen_pollack_is_kolen_pollack_in_the_last_hidden_block():
    one, other = network([4, 6, 3]), network([4, 6, 3])
    other.load_state_dict(one.state_dict())
    direct, layered = bp.attach(one, bp.DirectKolenPollack()), bp.attach(other, bp.KolenPollack())
    one(torch.zeros(1, 4, dtype=torch.float64))  # makes the matrix
    (matrix,) = direct.parameters()
    with torch.no_grad():
        state(other[2]).copy_(matrix)
    optimizers = sgd(one, direct, 0.02), sgd(other, layered, 0.02)
    distance = (matrix - one[2].weight).detach()
    for _ in range(15):
        x, y = batch([4, 3], 5)
        train(one, optimizers[0], x, y)
        train(other, optimizers[1], x, y)
    torch.testing.assert_close(dict(one.named_parameters()), dict(other.named_parameters()))
    torch.testing.assert_close(matrix, state(other[2]))
    torch.testing.assert_close(matrix - one[2].weight, distance * 0.98**15)


@pytest.mark.parametrize("power", [0.0, 0.7])
@pytest.mark.parametrize("entropy", [0.0, 0.4])
@settings(max_examples=10, deadline=None)
@given(**NETWORKS)
def test_error_broadcast_decorrelation_over_several_steps(power, entropy, widths, size, seed):
    torch.manual_seed(seed)
    model = network(widths)
    options = {
        "forgetting": 0.7,
        "initial": 0.2,
        "power": power,
        "level": 0.3,
        "entropy": entropy,
        "epsilon": 0.1,
    }
    rule = bp.ErrorBroadcastDecorrelation(bp.Dense(seed), **options)
    handle = bp.attach(model, rule)
    optimizer = sgd(model, handle, 0.0)
    correlations = [
        0.2 * rule.projection.matrix(widths[-1], width, block.stream, LIKE).numpy()
        for width, block in zip(widths[1:-1], handle.blocks, strict=False)
    ]
    autocorrelations = [np.zeros((width, width)) for width in widths[1:-1]]
    for _ in range(4):
        weights, biases = weights_and_biases(model)
        x, y = batch(widths, size)
        train(model, optimizer, x, y)
        expected, correlations, autocorrelations = error_broadcast_decorrelation.step(
            weights, biases, samples(x, y), correlations, autocorrelations, options
        )
        assert_equal(arrays(m.weight.grad for m in linears_of(model)), [w for w, _ in expected])
        assert_equal(arrays(m.bias.grad for m in linears_of(model)), [b for _, b in expected])
        assert_equal(direct_state(handle), correlations)


def test_error_broadcast_decorrelation_does_not_follow_in_evaluation_mode():
    model = network([4, 6, 3])
    handle = bp.attach(model, bp.ErrorBroadcastDecorrelation(forgetting=0.5))
    for training, same in ((True, False), (False, True), (True, False)):
        model.train(training)
        model.zero_grad()
        x, y = batch([4, 3], 5)
        output = model(x)
        before = direct_state(handle)
        F.cross_entropy(output, y).backward()
        assert np.array_equal(before, direct_state(handle)) == same


@pytest.mark.parametrize("penalty", ["power", "entropy"])
@pytest.mark.parametrize("kind", ["flat", "channels", "tokens"])
def test_regularisers_add_their_gradient_feature_by_feature(penalty, kind):
    first, last, shape = {
        "flat": (nn.Linear(5, 4), nn.Linear(4, 3), (3, 5)),
        "channels": (nn.Conv2d(2, 4, 2), nn.Conv2d(4, 3, 3), (3, 2, 4, 4)),
        "tokens": (nn.Linear(5, 4), nn.Linear(4, 3), (3, 7, 5)),
    }[kind]
    model = nn.Sequential(first, nn.Tanh(), last).double()
    x = torch.randn(shape, dtype=torch.float64)

    def gradient(**options):
        rule = bp.ErrorBroadcastDecorrelation(forgetting=0.8, epsilon=0.05, level=0.3, **options)
        handle = bp.attach(model, rule)
        model.zero_grad()
        model(x).square().mean().backward()
        handle.remove()
        return first.weight.grad.clone()

    added = gradient(**{penalty: 0.6}) - gradient()
    model.zero_grad()
    h = model[:2](x)
    h = (h.movedim(1, -1) if kind == "channels" else h).flatten(0, -2)
    if penalty == "power":
        cost = (h.square().mean(0) - 0.3).square().sum()
    else:
        eye = torch.eye(4, dtype=torch.float64)
        cost = -0.5 * torch.logdet(0.2 * h.t() @ h / len(h) + 0.05 * eye)
    (0.6 * cost).backward()
    torch.testing.assert_close(added, first.weight.grad)


def test_feedback_stands_in_the_backward_pass_as_the_reference_has_it():
    """A check of the tests themselves: with other feedback the reference finds other gradients."""
    model = network([3, 4, 4, 2])
    weights, biases = weights_and_biases(model)
    x, y = batch([3, 2], 3)
    one = outer_products(weights, biases, samples(x, y), feedback_alignment.deltas(weights))
    double = [2 * w for w in weights]
    other = outer_products(weights, biases, samples(x, y), feedback_alignment.deltas(double))
    np.testing.assert_allclose(other[0][0], 4 * one[0][0])
    np.testing.assert_allclose(other[1][0], 2 * one[1][0])


def test_further_backward_passes_leave_the_correlations_alone():
    torch.manual_seed(0)
    x, y = torch.randn(6, 4, dtype=torch.float64), torch.arange(6) % 3
    model = network([4, 5, 5, 3])
    bp.attach(model, bp.ErrorBroadcastDecorrelation(entropy=0.1))
    loss = F.cross_entropy(model(x), y)
    weight = linears_of(model)[0].weight
    found = [torch.autograd.grad(loss, weight, retain_graph=True)[0] for _ in range(3)]
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_regularised_correlations_skip_a_bad_batch():
    rule = bp.ErrorBroadcastDecorrelation(forgetting=0.9, power=0.1, entropy=0.1)
    model = network((4, 5, 3))
    handle = bp.attach(model, rule)
    x, y = torch.randn(6, 4, dtype=torch.float64), torch.arange(6) % 3
    F.cross_entropy(model(x), y).backward()
    before = handle.state_dict()
    model.zero_grad()
    x[0, 0] = torch.nan
    F.cross_entropy(model(x), y).backward()
    after = handle.state_dict()
    assert before["passes"] + 1 == after["passes"]
    assert all(after[name].equal(before[name]) for name in before if name != "passes")


def test_a_mirror_forgets_weights_that_were_not_finite():
    model = network((4, 5, 3))
    handle = bp.attach(model, bp.WeightMirror())
    x = torch.randn(6, 4, dtype=torch.float64)
    model(x)
    weight = model[2].weight
    own = weight.detach().clone()
    for values in (
        torch.full_like(own, torch.nan),
        own,
    ):  # a bad step, and back
        weight.data.copy_(values)
        model(x)
    assert handle.state_dict()["2.weight.feedback"].isfinite().all()
