"""The slow reference of predictive coding against what is known of it.

The numbers come from the released program of ePC (github.com/cgoemaere/error_based_PC, `pc_e.py`
and `pc_variants.py`), with its cross-entropy, run in float64 on these weights.
"""

from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.reference import backprop
from tests.reference import predictive_coding as pc
from tests.reference.network import outer_products
from torch import nn

LABELS = [1, 0]


def numbers(shape, k, scale=0.8):
    """Return an array that anyone can make again."""
    return np.sin(1.7 * np.arange(1, np.prod(shape) + 1) + 0.9 * k).reshape(shape) * scale


def published():
    """Return weights, biases and a batch."""
    pairs = list(pairwise([3, 4, 3, 2]))
    weights = [numbers((after, before), 2 * k + 1) for k, (before, after) in enumerate(pairs)]
    biases = [numbers((after,), 2 * k + 2, 0.3) for k, (_, after) in enumerate(pairs)]
    return weights, biases, list(zip(numbers((2, 3), 99), LABELS, strict=True))


def network(seed, widths=(3, 4, 5, 4, 3), scale=0.7):
    random = np.random.default_rng(seed)
    pairs = list(pairwise(widths))
    weights = [scale * random.normal(size=(after, before)) for before, after in pairs]
    biases = [0.1 * random.normal(size=after) for _, after in pairs]
    return weights, biases, [(random.normal(size=widths[0]), label) for label in (1, 2)]


def state_gradients(weights, biases, batch, rate, steps, fixed=False):
    def infer(x, target):
        return pc.infer_states(weights, biases, x, target, rate, steps, fixed)

    return pc.gradients(weights, biases, batch, infer, fixed)


def error_gradients(weights, biases, batch, rate, steps):
    def infer(x, target):
        return pc.infer_errors(weights, biases, x, target, rate, steps)

    return pc.gradients(weights, biases, batch, infer)


def exact(weights, biases, batch):
    return outer_products(weights, biases, batch, backprop.deltas(weights))


def assert_close(found, expected, **tolerance):
    for pair, wanted in zip(found, expected, strict=True):
        for array, other in zip(pair, wanted, strict=True):
            np.testing.assert_allclose(array, other, **tolerance)


def chain(weights, biases):
    """Return the same network in PyTorch, block by block."""
    blocks = []
    for weight, bias in zip(weights, biases, strict=True):
        layer = nn.Linear(weight.shape[1], weight.shape[0]).double()
        layer.weight.data, layer.bias.data = torch.tensor(weight), torch.tensor(bias)
        blocks.append(nn.Sequential(layer, nn.Tanh()))
    blocks[-1] = blocks[-1][0]
    return blocks


def layers(weights, biases):
    """Return the same network as blocks of the slow reference."""
    *hidden, last = [("linear", w, b) for w, b in zip(weights, biases, strict=True)]
    return [*[[linear, ("tanh", None, None)] for linear in hidden], [last]]


def energy(blocks, states, target):
    """Return the energy of one sample, with a graph; ``states`` are ``[h_0, …, h_{L-1}]``."""
    predicted = [block(h) for block, h in zip(blocks, states, strict=True)]
    pairs = zip(states[1:], predicted[:-1], strict=True)
    squares = sum(((h - p) ** 2).sum() for h, p in pairs)
    return squares / 2 + F.cross_entropy(predicted[-1], torch.tensor(target))


ERRORS = {
    "first": [
        [0.06483848684365362, -0.00786099321207588, -0.06281279545351257],
        [0.0017484421909616, 0.03718625398716426, -0.01133093037040347],
        [-0.07023414773115327, -0.00081601524444655, 0.07044442587416937],
        [0.00515632994768951, -0.0297507710131015, 0.00251011614448025],
    ],
    "second bias": [-0.09945139516350227, 0.00913950350882055, -0.04863631033143217],
    "last": [
        [-0.192697729425243, -0.2528859767095608, -0.07704977030133836],
        [0.192697729425243, 0.2528859767095608, 0.07704977030133836],
    ],
}
STATES = {
    "first": [
        [0.02242706361039348, -0.00071651746308283, -0.02224242495002378],
        [0.00200784520853847, 0.01616668938808469, -0.0061738230458195],
        [-0.02510073680685612, -0.00336745258659743, 0.02596849225802462],
        [-0.00047059330409924, -0.01211963752023557, 0.00359369043877876],
    ],
    "second bias": [-0.05996106754416745, 0.00566379218321381, -0.02061041442657723],
    "last": [
        [-0.1308669994841782, -0.24758051812376447, -0.08387150653306623],
        [0.13086699948417818, 0.24758051812376444, 0.08387150653306623],
    ],
}


@pytest.mark.parametrize(
    ("gradients", "rate", "steps", "expected"),
    [(error_gradients, 0.4, 3, ERRORS), (state_gradients, 0.3, 4, STATES)],
)
def test_gradients_equal_the_released_program(gradients, rate, steps, expected):
    found = gradients(*published(), rate, steps)
    np.testing.assert_allclose(found[0][0], expected["first"], rtol=1e-10, atol=1e-15)
    np.testing.assert_allclose(found[1][1], expected["second bias"], rtol=1e-10)
    np.testing.assert_allclose(found[2][0], expected["last"], rtol=1e-10)


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_states_follow_the_gradient_of_the_energy(steps):
    weights, biases, batch = network(seed=steps)
    x, target = batch[0]
    blocks = chain(weights, biases)
    h, states = torch.tensor(x), []
    for block in blocks:
        states.append(h.detach())
        h = block(h)
    for _ in range(steps):
        leaves = [states[0], *[state.requires_grad_() for state in states[1:]]]
        slopes = torch.autograd.grad(energy(blocks, leaves, target), leaves[1:])
        moved = [h - 0.3 * s for h, s in zip(leaves[1:], slopes, strict=True)]
        states = [states[0], *[state.detach() for state in moved]]
    found = pc.infer_states(weights, biases, x, target, 0.3, steps)
    for array, expected in zip(found, states, strict=True):
        np.testing.assert_allclose(array, expected.detach().numpy(), rtol=1e-12)


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_errors_follow_the_gradient_of_the_energy(steps):
    weights, biases, batch = network(seed=steps)
    x, target = batch[1]
    blocks = chain(weights, biases)
    errors = [torch.zeros(len(bias), dtype=torch.float64) for bias in biases[:-1]]

    def states(errors):
        found = [torch.tensor(x)]
        for block, error in zip(blocks, errors, strict=False):
            found.append(block(found[-1]) + error)
        return found

    for _ in range(steps):
        leaves = [error.requires_grad_() for error in errors]
        squares = sum((error**2).sum() for error in leaves) / 2
        loss = F.cross_entropy(blocks[-1](states(leaves)[-1]), torch.tensor(target))
        slopes = torch.autograd.grad(squares + loss, leaves)
        errors = [(e - 0.3 * s).detach() for e, s in zip(leaves, slopes, strict=True)]
    found = pc.infer_errors(weights, biases, x, target, 0.3, steps)
    for array, expected in zip(found, states(errors), strict=True):
        np.testing.assert_allclose(array, expected.detach().numpy(), rtol=1e-12)


@pytest.mark.parametrize("infer", [pc.infer_states, pc.infer_errors])
def test_gradients_are_those_of_the_energy_at_the_last_states(infer):
    weights, biases, batch = network(seed=5)
    blocks = chain(weights, biases)
    for x, target in batch:
        states = infer(weights, biases, x, target, 0.3, 4)
        held = [torch.tensor(state) for state in states]
        (energy(blocks, held, target) / len(batch)).backward()
        found = pc.energy(layers(weights, biases), states, target)
        assert found == pytest.approx(energy(blocks, held, target).item(), rel=1e-12)
    found = pc.gradients(weights, biases, batch, lambda x, y: infer(weights, biases, x, y, 0.3, 4))
    linears = [*[block[0] for block in blocks[:-1]], blocks[-1]]
    expected = [(linear.weight.grad.numpy(), linear.bias.grad.numpy()) for linear in linears]
    assert_close(found, expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("seed", range(3))
def test_fixed_predictions_equal_backprop_when_the_error_has_reached_the_first_layer(seed):
    weights, biases, batch = network(seed)
    expected = exact(weights, biases, batch)
    assert_close(state_gradients(weights, biases, batch, 1.0, 3, fixed=True), expected, rtol=1e-11)
    early = state_gradients(weights, biases, batch, 1.0, 2, fixed=True)
    assert not early[0][0].any()
    assert_close(early[1:], expected[1:], rtol=1e-11)


@pytest.mark.parametrize("seed", range(3))
def test_without_inference_the_last_layer_alone_learns_and_by_its_exact_gradient(seed):
    weights, biases, batch = network(seed)
    for gradients in (state_gradients, error_gradients):
        found = gradients(weights, biases, batch, 0.5, 0)
        assert_close(found[-1:], exact(weights, biases, batch)[-1:], rtol=1e-12)
        assert not any(array.any() for pair in found[:-1] for array in pair)


def test_states_pass_the_error_on_by_one_layer_a_step_and_errors_at_once():
    weights, biases, batch = network(seed=0)
    found = state_gradients(weights, biases, batch, 0.5, 1)
    assert [pair[0].any() for pair in found] == [False, False, True, True]
    found = error_gradients(weights, biases, batch, 0.5, 1)
    assert all(pair[0].any() for pair in found)


@pytest.mark.parametrize("seed", range(3))
def test_both_forms_have_the_same_equilibrium(seed):
    weights, biases, batch = network(seed)
    found = state_gradients(weights, biases, batch, 0.2, 2000)
    assert_close(found, error_gradients(weights, biases, batch, 0.2, 1000), rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize(("rate", "steps"), [(1.0, 1), (0.2, 1), (0.2, 5)])
def test_small_errors_are_backprop_times_one_minus_what_inference_left(rate, steps):
    """To first order ``ε = -(1 - (1 - λ)^T) ∂loss/∂h`` of the error form."""
    weights, biases, _ = network(seed=1)
    biases[-1] = np.array([0.0, 16.0, 0.0])  # the loss of the second class is near 0
    batch = [(np.array([0.3, -0.5, 0.8]), 1)]
    expected = [
        [(1 - (1 - rate) ** steps) * array for array in pair]
        for pair in exact(weights, biases, batch)[:-1]
    ]
    found = error_gradients(weights, biases, batch, rate, steps)[:-1]
    assert max(abs(array).max() for pair in expected for array in pair) > 1e-9
    assert_close(found, expected, rtol=1e-5)


def test_inference_lowers_the_energy():
    weights, biases, batch = network(seed=2)
    x, target = batch[0]
    for infer in (pc.infer_states, pc.infer_errors):
        found = [
            pc.energy(
                layers(weights, biases), infer(weights, biases, x, target, 0.1, steps), target
            )
            for steps in range(12)
        ]
        assert all(later < before for before, later in pairwise(found))
