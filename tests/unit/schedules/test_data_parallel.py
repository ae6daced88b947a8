"""Gradients that `DistributedDataParallel` does not see are averaged too."""

import pytest
import torch
import torch.nn.functional as F

import beyondprop as bp
from beyondprop.schedules import DataParallel
from beyondprop.schedules.data_parallel import buckets
from tests.unit.schedules import two_halves
from tests.unit.schedules.two_halves import RULES, batch, gradients_of, net

CLOSE = {"rtol": 1e-4, "atol": 1e-6}


@pytest.fixture(scope="module")
def averaged(results):
    return [result["averaged"] for result in results]


# The second process builds its model from another seed: it takes the first one's weights over.
@pytest.mark.parametrize("rule", RULES)
def test_two_processes_learn_what_one_learns(averaged, rule):
    expected = two_halves.train(rule)
    for found in averaged:
        torch.testing.assert_close(found["trained"][rule], expected, **CLOSE)


def test_what_compares_pairs_gets_the_mean_of_what_the_halves_alone_get(averaged):
    halves = []
    for rank in range(2):
        model = net()
        handle = bp.attach(model, bp.LocalLoss(bp.PredSim()))
        x, y = batch(0, rank, 2)
        with handle.targets(y):
            F.cross_entropy(model(x), y).backward()
        halves.append(gradients_of([*model.parameters(), *handle.parameters()]))
    expected = [(a + b) / 2 for a, b in zip(*halves, strict=True)]
    for found in averaged:
        torch.testing.assert_close(found["pairs"], expected, **CLOSE)
    alone = two_halves.train("predsim")["gradients"]
    assert not torch.allclose(expected[0], alone[0], **CLOSE)  # pairs across the halves are missing


def test_a_gradient_on_one_process_counts_as_zero_on_the_other(averaged):
    for found in averaged:
        first, second, *unused = found["partly"]
        torch.testing.assert_close(first, torch.full((1, 2), 2.0))
        torch.testing.assert_close(second, torch.full((1, 2), 2.0))
        assert unused == [None, None]


def test_many_small_calls_are_one_large_one(averaged):
    for found in averaged:
        torch.testing.assert_close(found["buckets"], found["trained"]["dgl"], **CLOSE)


def test_all_begin_with_the_weights_and_the_feedback_of_the_first(averaged):
    first, second = (found["late"] for found in averaged)
    torch.testing.assert_close(second["feedback"]["0.feedback"], torch.full((4, 6), 0.5))
    assert second["feedback"]["passes"] == 7
    torch.testing.assert_close(second, first, rtol=0, atol=0)
    torch.testing.assert_close(first["weights"], net(0).state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("rule", ["ebd", "scff"])
def test_rules_that_need_all_samples_stay_refused(averaged, rule):
    attached = bp.rules.RULES[rule]
    for found in averaged:
        assert found["refused"][rule] == (
            f"{type(attached).__name__} does not teach on several processes: "
            f"{attached.traits.alone}"
        )


def test_immediate_is_refused_inside_distributed_data_parallel(averaged):
    for found in averaged:
        assert "the processes would silently drift apart" in found["refused"]["immediate"]


def test_without_processes_the_command_is_told():
    with pytest.raises(bp.UserError, match="torchrun --nproc-per-node 2"):
        DataParallel(bp.attach(net(), bp.LocalLoss()))


def test_buckets_hold_every_tensor_once_and_no_more_than_they_may():
    tensors = [
        torch.empty(n, dtype=d) for d in (torch.float32, torch.float64) for n in (3, 5, 40, 1)
    ]
    found = list(buckets(tensors, 40))
    assert sorted(id(t) for bucket in found for t in bucket) == sorted(map(id, tensors))
    for bucket in found:
        assert len(bucket) == 1 or sum(t.nbytes for t in bucket) <= 40
        assert len({t.dtype for t in bucket}) == 1
    assert [len(bucket) for bucket in found] == [2, 1, 1, 1, 1, 1, 1]
