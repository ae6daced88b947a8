"""The slow reference of dual propagation against what is known of it.

The numbers come from the authors' released program (github.com/Rasmuskh/dualprop_icml_2024, class
`cnn_dualprop_Lagr_ff` without convolutions), run in float64 on these weights.
"""

from itertools import pairwise

import numpy as np
import pytest
from tests.reference import backprop
from tests.reference import dual_propagation as dual
from tests.reference.network import forward, outer_products, output_error

WIDTHS = [3, 4, 3, 3]
LABELS = [2, 0]
BETA = 0.7

PUBLISHED = {
    (0.5, 1): (
        [0.08576190948090139, 0.09110586956422062, -0.10923888886361231],
        [-0.12219317336817082, -0.12518713038348384, 0.14737916964779094],
    ),
    (0.5, 3): (
        [0.0855914275683679, 0.09168829783015398, -0.10921849230185403],
        [-0.124778777282697, -0.12522169466392255, 0.14950445523512684],
    ),
    (0.0, 1): (
        [0.11953683340599616, 0.021266732228896655, -0.12501703612469664],
        [-0.23316644772392095, -0.12994872408458874, 0.05613630177395959],
    ),
    (0.3, 1): (
        [0.10062765715307684, 0.06082255158156625, -0.11630095895365669],
        [-0.1656794962591895, -0.1272792669408421, 0.10991815897046198],
    ),
    (0.3, 3): (
        [0.1006314539415586, 0.06086044614025215, -0.11631452075263933],
        [-0.1679708225262112, -0.127278343130879, 0.11079591104527275],
    ),
}
"""By α and passes: the gradients of the first row of ``W_1`` and of ``b_2``."""


def numbers(shape, k):
    """Return an array that anyone can make again."""
    return np.sin(1.7 * np.arange(1, np.prod(shape) + 1) + 0.9 * k).reshape(shape) * 0.8


def network():
    pairs = list(pairwise(WIDTHS))
    weights = [numbers((after, before), i + 1) for i, (before, after) in enumerate(pairs)]
    biases = [0.3 * numbers((after,), i + 11) for i, (_, after) in enumerate(pairs)]
    return weights, biases, list(zip(numbers((2, 3), 99), LABELS, strict=True))


def largest_difference(found, expected):
    return max(
        np.abs(a - b).max()
        for ours, theirs in zip(found, expected, strict=True)
        for a, b in zip(ours, theirs, strict=True)
    )


def error_against_backprop(alpha, beta):
    weights, biases, batch = network()
    found = dual.gradients(weights, biases, batch, alpha, beta, 1)
    expected = outer_products(weights, biases, batch, backprop.deltas(weights))
    return largest_difference(found, expected)


@pytest.mark.parametrize(("alpha", "passes"), PUBLISHED)
def test_gradients_equal_the_released_program(alpha, passes):
    found = dual.gradients(*network(), alpha, BETA, passes)
    weight, bias = PUBLISHED[alpha, passes]
    np.testing.assert_allclose(found[0][0][0], weight, rtol=1e-11)
    np.testing.assert_allclose(found[1][1], bias, rtol=1e-11)


@pytest.mark.parametrize(("alpha", "order"), [(0.5, 2), (0.0, 1), (0.3, 1), (1.0, 1)])
def test_gradients_become_those_of_backprop_as_the_nudge_shrinks(alpha, order):
    coarse, fine = error_against_backprop(alpha, 1e-2), error_against_backprop(alpha, 5e-3)
    assert fine < 1e-2
    assert coarse / fine == pytest.approx(2**order, rel=0.05)


def test_the_last_layer_gets_the_error_times_the_nudged_mean():
    weights, biases, batch = network()
    x, target = batch[0]
    states = forward(weights, biases, x)
    error = output_error(states[-1], target)
    plus, minus, _ = dual.infer(weights, biases, states, error, 0.3, BETA, 1)
    below = 0.3 * plus[-1] + 0.7 * minus[-1]
    assert np.abs(below - states[-2]).max() > 1e-3
    weight, bias = dual.gradients(weights, biases, batch[:1], 0.3, BETA, 1)[-1]
    np.testing.assert_allclose(weight, np.outer(error, below), rtol=1e-12)
    np.testing.assert_allclose(bias, error, rtol=1e-12)


def test_symmetric_nudging_is_the_algorithm_of_2023():
    weights, biases, batch = network()
    x, target = batch[0]
    states = forward(weights, biases, x)
    error = output_error(states[-1], target)
    plus, minus = [h.copy() for h in states[:-1]], [h.copy() for h in states[:-1]]
    for layer in dual.sweep(2, 3):
        ahead = weights[layer - 1] @ (plus[layer - 1] + minus[layer - 1]) + 2 * biases[layer - 1]
        above = -BETA * error if layer == 2 else plus[layer + 1] - minus[layer + 1]
        back = weights[layer].T @ above
        plus[layer], minus[layer] = np.tanh((ahead + back) / 2), np.tanh((ahead - back) / 2)
    found = dual.infer(weights, biases, states, error, 0.5, BETA, 3)
    np.testing.assert_allclose(np.concatenate(found[0]), np.concatenate(plus), rtol=1e-12)
    np.testing.assert_allclose(np.concatenate(found[1]), np.concatenate(minus), rtol=1e-12)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 1.0])
def test_inference_settles(alpha):
    weights, biases, batch = network()
    states = forward(weights, biases, batch[0][0])
    error = output_error(states[-1], batch[0][1])
    found = [dual.infer(weights, biases, states, error, alpha, BETA, n) for n in (1, 4, 40, 41)]
    first, fourth, late, later = [np.concatenate([*p, *m]) for p, m, _ in found]
    np.testing.assert_allclose(late, later, rtol=1e-12)
    assert np.abs(fourth - late).max() <= 0.2 * np.abs(first - late).max()
