"""The slow reference of difference target propagation against what is known of it.

The numbers come from the authors' released program (github.com/donghyunlee/dtp, `conti_dtp.py`),
its graph run in float64 on these weights. It divides the error by the batch size before the first
target, as its loss is a mean, so its η̂ is this one times the batch size.
"""

from itertools import pairwise

import numpy as np
import pytest
from tests.reference import backprop
from tests.reference import difference_target_propagation as dtp
from tests.reference.network import forward, outer_products, output_error

WIDTHS = [3, 4, 3, 2, 3, 4, 2, 3, 3]
LABELS = [2, 0]
RATE = 0.7
"""The released program's, on a mean over two samples."""


def numbers(shape, k):
    """Return an array that anyone can make again."""
    return np.sin(1.7 * np.arange(1, np.prod(shape) + 1) + 0.9 * k).reshape(shape) * 0.8


def published():
    """Return weights, biases, inverses and noise; the program numbers its arrays in this order."""
    count = len(WIDTHS) - 1
    pairs = list(pairwise(WIDTHS))
    weights = [numbers(pair, 2 * i + 1).T for i, pair in enumerate(pairs)]
    biases = [0.3 * numbers((after,), 2 * i + 2) for i, (_, after) in enumerate(pairs)]
    inverses = [
        (
            numbers((after, before), 2 * (count + i) + 1).T,
            0.3 * numbers((before,), 2 * (count + i) + 2),
        )
        for i, (before, after) in enumerate(pairs[1:-1])
    ]
    noise = [0.3 * numbers((2, before), 50 + i) for i, (before, _) in enumerate(pairs[1:-1])]
    return weights, biases, inverses, noise


def random_network(widths, seed, scale=0.7):
    random = np.random.default_rng(seed)
    pairs = list(pairwise(widths))
    weights = [scale * random.normal(size=(after, before)) for before, after in pairs]
    biases = [0.1 * random.normal(size=after) for _, after in pairs]
    return weights, biases, random.normal(size=widths[0])


def exact_inverses(weights, biases):
    """Return ``h -> W⁻¹ (atanh(h) - b)`` for every hidden layer but the first."""
    return [
        lambda h, w=w, b=b: np.linalg.solve(w, np.arctanh(h) - b)
        for w, b in zip(weights[1:-1], biases[1:-1], strict=True)
    ]


def test_targets_and_gradients_equal_the_released_program():
    weights, biases, inverses, _ = published()
    batch = list(zip(numbers((2, 3), 99), LABELS, strict=True))
    backward = dtp.functions(inverses)
    first = [
        dtp.targets(weights[-1], forward(weights, biases, x), y, backward, RATE / 2)[0]
        for x, y in batch
    ]
    expected = [
        [0.00024384080487204612, 0.25703655712169454, -0.06784138284860092, -0.24023198551527775],
        [0.4892096393344465, -0.17469548706007798, -0.45370943884185483, 0.2928438486312839],
    ]
    np.testing.assert_allclose(first, expected, rtol=1e-12)

    found = outer_products(weights, biases, batch, dtp.deltas(weights[-1], backward, RATE / 2))
    undone = 2 * RATE / 2  # the program does not divide its loss by 2 η̂
    expected = [
        [-0.0006973126055805113, -0.010054931499637135, 0.0032883577340741873],
        [0.0028030044841982848, -0.00041155252890362584, -0.002696951929273016],
        [0.0005055629750021471, 0.009960259710798119, -0.0030722122259817936],
        [-0.0024767587571672732, -0.0017331997446224463, 0.0029233852463852717],
    ]
    np.testing.assert_allclose(found[0][0] * undone, expected, rtol=1e-11)
    expected = [-0.0052755122123699615, -0.012147778558185867, 0.009294339820508826]
    np.testing.assert_allclose(found[1][1] * undone, expected, rtol=1e-11)
    expected = [
        [0.0015552736267083682, -0.029914897184017675],
        [-0.03175381240499907, 0.0019412742484551742],
        [-0.025512838047258297, 0.03208222194522736],
    ]
    np.testing.assert_allclose(found[6][0] * undone, expected, rtol=1e-11)


def test_inverse_gradients_equal_the_released_program():
    weights, biases, inverses, noise = published()
    states = [forward(weights, biases, x) for x in numbers((2, 3), 99)]
    found = dtp.inverse_gradients(weights, biases, inverses, states, noise)
    expected = [
        [0.4435712815814549, -0.5355218044858561, -0.30228761365583395],
        [-0.4200153406037916, 0.5024595833239663, 0.287557426209695],
        [-0.36981163042331666, 0.45819794133602376, 0.24866629383616043],
        [0.4500565183580053, -0.5340732998291318, -0.3093619791467948],
    ]
    np.testing.assert_allclose(found[0][0], expected, rtol=1e-12)
    expected = [1.0865093215769057, 0.6000349021738749, -1.305239898992006]
    np.testing.assert_allclose(found[1][1], expected, rtol=1e-12)
    expected = [
        [0.017801659928396336, -0.04206521958841869, -0.007000794699683898],
        [-0.07716096979114481, -0.0811032459123788, 0.09758248171003488],
    ]
    np.testing.assert_allclose(found[5][0], expected, rtol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_exact_inverses_make_each_layer_reach_its_target_from_the_target_below(seed):
    weights, biases, x = random_network([3, 4, 4, 4, 3], seed)
    states = forward(weights, biases, x)
    found = dtp.targets(weights[-1], states, 1, exact_inverses(weights, biases), 0.05)
    for layer, (before, after) in enumerate(pairwise(found), start=1):
        reached = dtp.tanh_layer(weights[layer], biases[layer], before)
        np.testing.assert_allclose(reached, after, rtol=1e-10)


@pytest.mark.parametrize("seed", range(3))
def test_exact_inverses_give_gauss_newton_steps_where_the_step_is_small(seed):
    weights, biases, x = random_network([3, 4, 4, 4, 3], seed)
    states = forward(weights, biases, x)
    rate = 1e-6
    first = dtp.targets(weights[-1], states, 1, exact_inverses(weights, biases), rate)[0]
    jacobian = np.eye(4)
    for weight, h in zip(weights[1:-1], states[2:-1], strict=True):
        jacobian = (1 - h**2)[:, None] * weight @ jacobian
    gradient = weights[-1].T @ output_error(states[-1], 1)
    newton = np.linalg.solve(jacobian, gradient)
    np.testing.assert_allclose((states[1] - first) / rate, newton, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("rate", [0.01, 3.0])
def test_transposed_jacobians_as_inverses_make_it_backprop(rate):
    weights, biases, x = random_network([3, 4, 2, 5, 3], 0)
    states = forward(weights, biases, x)
    backward = [
        lambda u, w=w, h=h: w.T @ ((1 - h**2) * u) + 5.0  # a constant is lost in the difference
        for w, h in zip(weights[1:-1], states[2:-1], strict=True)
    ]
    found = outer_products(weights, biases, [(x, 1)], dtp.deltas(weights[-1], backward, rate))
    expected = outer_products(weights, biases, [(x, 1)], backprop.deltas(weights))
    for ours, theirs in zip(found, expected, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_inverse_gradients_are_those_of_the_reconstruction():
    weights, biases, inverses, noise = published()
    states = [forward(weights, biases, x) for x in numbers((2, 3), 99)]
    found = dtp.inverse_gradients(weights, biases, inverses, states, noise)
    layer, step = 2, 1e-6

    def loss(i, j, change):
        v, c = inverses[layer]
        v = v.copy()
        v[i, j] += change
        given = [s[layer + 1] + e for s, e in zip(states, noise[layer], strict=True)]
        one = [dtp.reconstruction(weights[layer + 1], biases[layer + 1], (v, c), h) for h in given]
        return sum(one) / len(one)

    for i, j in np.ndindex(*inverses[layer][0].shape):
        slope = (loss(i, j, step) - loss(i, j, -step)) / (2 * step)
        np.testing.assert_allclose(found[layer][0][i, j], slope, rtol=1e-6, atol=1e-9)
