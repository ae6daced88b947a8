"""Two processes, each with half of every batch, learn what one learns from all of it."""

import multiprocessing
import time

import pytest
import torch

import beyondprop as bp
from tests.contract import two_processes
from tests.contract.two_processes import ACCUMULATED, ALONE, PAIRS, SAID, WHOLE

SECONDS = 120
CLOSE = {"rtol": 1e-3, "atol": 1e-5}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What each of the two processes saved; they are started once for all tests."""
    if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
        pytest.skip("this PyTorch was built without gloo")
    folder = tmp_path_factory.mktemp("processes")
    context = multiprocessing.get_context("spawn")
    children = [
        context.Process(target=two_processes.work, args=(rank, str(folder))) for rank in range(2)
    ]
    for child in children:
        child.start()
    end = time.monotonic() + SECONDS
    try:
        for child in children:
            child.join(max(0, end - time.monotonic()))
        assert [child.exitcode for child in children] == [0, 0]
    finally:
        for child in children:
            if child.is_alive():
                child.kill()
            child.join()
            child.close()
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def ids(pairs):
    return [f"{name}-{rule}" for name, rule in pairs]


@pytest.mark.parametrize("pair", PAIRS, ids=ids(PAIRS))
def test_two_processes_learn_what_one_learns(results, pair):
    expected = two_processes.train(*pair)
    mine, its = (result["trained"][pair] for result in results)
    torch.testing.assert_close(mine["weights"], its["weights"], rtol=0, atol=0)
    torch.testing.assert_close(mine["gradients"], expected["gradients"], **CLOSE)
    torch.testing.assert_close(mine["weights"], expected["weights"], **CLOSE)


@pytest.mark.parametrize("pair", ACCUMULATED, ids=ids(ACCUMULATED))
def test_gradients_accumulate_without_talking(results, pair):
    expected = two_processes.accumulate(*pair)
    for result in results:
        torch.testing.assert_close(result["accumulated"][pair], expected, **CLOSE)


def test_two_processes_choose_the_same_weights(results):
    mine, its = (result["chosen"] for result in results)
    torch.testing.assert_close(mine, its, rtol=0, atol=0)
    expected = two_processes.choose()
    same = [(mine[name] == weight).double().mean().item() for name, weight in expected.items()]
    assert min(same) > 0.9  # sums of two halves round otherwise, and a line may win by that


def test_fixed_values_that_differ_are_refused(results):
    assert "on several processes, use the same seed" in results[1]["strangers"]


@pytest.mark.parametrize("rule", ALONE)
def test_what_needs_all_samples_is_refused_with_the_reason(results, rule):
    called = type(bp.rules.RULES[rule]).__name__
    reason = bp.rules.RULES[rule].traits.alone
    for result in results:
        said = result["refused"][rule]
        assert said == f"{called} does not teach on several processes: {reason}"


@pytest.mark.parametrize("case", WHOLE, ids=str)
def test_spread_parameters_learn_what_whole_ones_learn(results, case):
    expected = two_processes.spread("leave", case[1], late=False)
    for result in results:
        torch.testing.assert_close(result["spread"][case], expected, **CLOSE)


@pytest.mark.parametrize("case", SAID, ids=str)
def test_what_cannot_learn_spread_is_refused(results, case):
    assert all(SAID[case] in result["spread"][case] for result in results)
