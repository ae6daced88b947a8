"""The slow reference of SoftHebb against what is known of it.

The numbers come from the authors' released program (github.com/NeuromorphicComputing/SoftHebb,
`hebbconv.py` and `hebblinear.py`), its layers run in float64 on these weights for two updates.
"""

import numpy as np
import pytest
import torch
from tests.reference import soft_hebb
from torch import nn


def weights(shape, k):
    """Return an array that anyone can make again."""
    return np.sin(1.7 * np.arange(1, np.prod(shape) + 1) + 0.9 * k).reshape(shape) * 0.8


def inputs(shape):
    return np.cos(0.37 * np.arange(np.prod(shape)) ** 2).reshape(shape)


def learned(weight, seen, updates, rate, **settings):
    """Return the weight after so many updates on the same inputs."""
    for _ in range(updates):
        weight = weight - rate * soft_hebb.gradient(weight, seen, **settings)
    return weight


DEEP = [
    [-0.7215476575569321, -0.1845590075526152, 0.8269888325646432, -0.01725973946782518],
    [-0.8010044828853474, 0.23591832352118866, 0.7022904590259557, -0.4544757782290856],
    [-0.5360827898605866, 0.6486090708407564, 0.4084083598738654, -0.7133653475730067],
]
SINGLE = [
    [-0.7193132273208888, -0.1617951043155706, 0.8349057040180909, -0.02162084785574994],
    [-0.7645322364308645, 0.2882857473055615, 0.729427596730767, -0.4382133630629312],
    [-0.5360236223529606, 0.6505682528607273, 0.42593931046037375, -0.7063541787885076],
]


@pytest.mark.parametrize(("anti", "expected"), [(True, DEEP), (False, SINGLE)])
def test_two_updates_of_a_linear_layer_equal_the_released_program(anti, expected):
    found = learned(
        weights((3, 4), 3), inputs((5, 4)), 2, 0.045, temperature=0.5, power=0.2, anti=anti
    )
    np.testing.assert_allclose(found, expected, rtol=1e-12)


REFLECTED = [
    *[[0.46424820535905864, -0.611224007422003, -0.225071937120291, 0.7198504256979065]],
    *[[0.07989790801380485, -0.7073134699450198, 0.12963566186377826, 0.7158453799570214]],
    *[[-0.37363017467176074, -0.652910644400237, 0.51812037600841, 0.5020016762174613]],
    *[[-0.6541361702497601, -0.31722559904415903, 0.7214709721240984, 0.11237771507464193]],
    *[[-0.7061537942242962, 0.13655097490915802, 0.7422666622417604, -0.25923676581026733]],
    *[[-0.6102187824012694, 0.4331376145701262, 0.5355441946516947, -0.570497158056246]],
]
STRIDED = [
    *[[0.4159841574317486, -0.6111494480376014, -0.2095514345678929, 0.6920051104430834]],
    *[[0.03589541973156177, -0.7497698823095424, 0.17926467077403938, 0.7262315504216913]],
    *[[-0.3915289907344685, -0.6837016528476976, 0.5225133344098932, 0.5272480275565343]],
    *[[-0.6923528032133266, -0.3378673258022945, 0.7484519756442257, 0.11736895604910295]],
    *[[-0.7071008685973117, 0.09959215652111705, 0.7482672123340554, -0.25287696651265723]],
    *[[-0.6241315231173784, 0.45344242207802893, 0.5362555799275412, -0.582424334311136]],
]
DILATED = [
    *[[0.4515128751865667, -0.6546861514402377, -0.19207600234108366, 0.6771650670103492]],
    *[[0.1174700075439424, -0.6956518695533918, 0.0952814509061917, 0.6313627468982135]],
    *[[-0.3580931054053753, -0.623063579701315, 0.5106230670804197, 0.4712180880520912]],
    *[[-0.6704266415183231, -0.3255557798716101, 0.7462797655619179, 0.13098284456390596]],
    *[[-0.7062385705809202, 0.1534735584872045, 0.6570957507389501, -0.21335428891491703]],
    *[[-0.6043464322170026, 0.48819402908148285, 0.4781222558617906, -0.5594574221675103]],
]


@pytest.mark.parametrize(
    ("mode", "stride", "dilation", "expected"),
    [("reflect", 1, 1, REFLECTED), ("constant", 2, 1, STRIDED), ("constant", 1, 2, DILATED)],
)
def test_two_updates_of_a_convolution_equal_the_released_program(mode, stride, dilation, expected):
    x = np.pad(inputs((2, 2, 4, 5)), ((0, 0), (0, 0), (1, 1), (1, 1)), mode=mode)
    seen = soft_hebb.patches(x, (2, 2), (stride,) * 2, (dilation,) * 2, (0, 0))
    kernel = weights((3, 2, 2, 2), 1).reshape(3, -1)
    found = learned(kernel, seen, 2, 0.08, temperature=1 / 1.5, power=0.5)
    np.testing.assert_allclose(found, np.reshape(expected, (3, 8)), rtol=1e-12)


@pytest.mark.parametrize(("stride", "dilation", "padding"), [(1, 1, 0), (2, 1, 1), (1, 2, 2)])
def test_patches_are_what_a_convolution_sees(stride, dilation, padding):
    torch.manual_seed(0)
    layer = nn.Conv2d(2, 3, (2, 3), stride, padding, dilation, bias=False).double()
    x = torch.randn(2, 2, 6, 7, dtype=torch.float64)
    seen = soft_hebb.patches(x.numpy(), (2, 3), (stride,) * 2, (dilation,) * 2, (padding,) * 2)
    kernel = layer.weight.detach().numpy().reshape(3, -1)
    found = np.array([soft_hebb.currents(kernel, patch) for patch in seen])  # (places, channels)
    expected = layer(x).permute(0, 2, 3, 1).reshape(-1, 3).detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_triangle_equals_the_released_program():
    found = soft_hebb.triangle(weights((3, 2, 2), 5), 0.7)
    expected = [
        [[0, 0.30280036601341853], [0.45686694693043645, 0]],
        [[0.0844229570138389, 0.13776326933249688], [0, 0]],
        [[0.4738648497340168, 0], [0, 0.44356426781773345]],
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("anti", [True, False])
def test_competition_is_a_softmax_in_which_only_the_winner_may_stay_positive(anti):
    u = inputs((4,))
    y = soft_hebb.competition(u, 0.7, anti)
    assert sum(abs(y)) == pytest.approx(1, rel=1e-14)
    assert list(y > 0) == [not anti or value == max(u) for value in u]
    assert np.log(abs(y[1] / y[2])) == pytest.approx((u[1] - u[2]) / 0.7, rel=1e-12)


def test_a_weight_that_always_wins_for_one_direction_turns_there_at_length_one():
    direction = np.array([0.6, 0.8])
    found = np.array([[0.9, 0.1], [-0.5, 0.4]])
    for _ in range(400):
        found = found + 0.05 * soft_hebb.change(found, [direction], temperature=1e-3)
    np.testing.assert_allclose(found[0], direction, atol=1e-6)
    np.testing.assert_allclose(found[1], [-0.5, 0.4], atol=1e-6)


def test_nothing_is_learned_at_length_one():
    weight = np.array([[0.6, 0.8], [3.0, 4.0]])
    found = soft_hebb.gradient(weight, inputs((5, 2)), temperature=1.0, power=0.5)
    assert abs(found[0]).max() <= 1e-4  # a power of the 1e-10 added to the distance
    assert abs(found[1]).max() == pytest.approx(2.0)  # √(5 - 1) times the largest, which is 1


def test_gradient_is_that_of_a_quadratic_with_its_coefficients_held():
    """``∂/∂W`` of ``Σ (½ y_k u_k |w_k|² - y_k w_k·x)`` with y and u constant is ``-ΔW``."""
    weight, seen = weights((3, 4), 2), inputs((5, 4))
    w, x = torch.tensor(weight, requires_grad=True), torch.tensor(seen)
    u = (x @ w.T).detach()
    y = (u / 0.8).softmax(1)
    y = torch.where(u == u.max(1, keepdim=True).values, y, -y)
    (y * (0.5 * u * (w**2).sum(1) - x @ w.T)).sum().backward()
    expected = -soft_hebb.change(weight, seen, temperature=0.8)
    np.testing.assert_allclose(w.grad, expected, rtol=1e-12)
