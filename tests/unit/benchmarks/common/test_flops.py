import pytest

import beyondprop as bp
from benchmarks.common import flops, networks


def test_the_flop_limit_by_hand() -> None:
    """784-1024×8-10, batch 256."""
    (net,) = [net for net in networks.step_time_networks() if net.name == "mlp-8x1024"]
    found = flops.products(net)
    weights = [784 * 1024, *[1024 * 1024] * 7, 1024 * 10]
    assert found.layers == tuple(2 * 256 * w for w in weights)
    assert found.projections == 2 * 256 * 8 * 10 * 1024
    backprop = 3 * sum(weights) - weights[0]
    dfa = 2 * sum(weights) + 8 * 10 * 1024
    assert found.limit("dfa") == pytest.approx(dfa / backprop)
    assert found.limit("dfa") == pytest.approx(0.69, abs=0.005)
    assert found.limit("backprop") == found.limit("fa") == 1
    assert found.limit("drtp") == pytest.approx(2 * sum(weights) / backprop)
    assert found.limit("frozen") == pytest.approx((sum(weights) + weights[-1]) / backprop)


def test_the_flop_limit_of_a_convolution_by_hand() -> None:
    (net,) = [net for net in networks.step_time_networks() if net.name == "convnet"]
    found = flops.products(net)
    positions, channels = [32 * 32, 16 * 16, 8 * 8], [3, 32, 64, 128]
    convolutions = [
        2 * 64 * at * 9 * before * after
        for at, before, after in zip(positions, channels, channels[1:], strict=False)
    ]
    assert found.layers == (*convolutions, 2 * 64 * 2048 * 10)
    # The signal goes to what comes out of the pooling, a quarter of the positions.
    assert found.projections == 2 * 64 * 10 * (32 * 256 + 64 * 64 + 128 * 16)


def test_every_rule_has_a_limit() -> None:
    found = flops.products(networks.step_time_networks()[3])
    rules = [case.name for case in networks.step_time_networks()[3].cases()]
    assert networks.CHAIN_STEP in rules
    assert {*bp.rules.RULES} - {"ff"} < {*rules}
    beyond = ("wm", "scff", "softhebb", "pepita")  # a mirror, pairs of inputs, a pass on top
    inferring = ("pc", "epc")
    assert all(0 < found.limit(rule) <= 1 for rule in rules if rule not in (*beyond, *inferring))
    assert all(1 < found.limit(rule) < 3 for rule in beyond)
    forward, errors = 565_248, 303_104  # the first layer predicts the same in all steps
    assert found.of("pc") == 2 * forward + 20 * 2 * errors
    assert found.of("epc") == 2 * forward + 5 * 2 * errors
