"""Blocks are shared out so that the slowest stage is as fast as can be."""

from itertools import combinations, pairwise

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import beyondprop as bp
from beyondprop.schedules import counted_costs, partition


def slowest(costs, sizes):
    ends = [sum(sizes[:i]) for i in range(len(sizes) + 1)]
    return max(sum(costs[a:b]) for a, b in pairwise(ends))


def best_by_trying_all(costs, stages):
    ways = combinations(range(1, len(costs)), stages - 1)
    every = [[b - a for a, b in pairwise((0, *ends, len(costs)))] for ends in ways]
    return min(slowest(costs, sizes) for sizes in every)


@given(st.lists(st.integers(0, 20), min_size=1, max_size=9), st.data())
def test_no_other_split_is_faster(costs, data):
    stages = data.draw(st.integers(1, len(costs)))
    sizes = partition(costs, stages)
    assert len(sizes) == stages
    assert min(sizes) >= 1
    assert sum(sizes) == len(costs)
    assert slowest(costs, sizes) == best_by_trying_all(costs, stages)


@pytest.mark.parametrize("stages", [0, 4])
def test_more_stages_than_units_cannot_be_filled(stages):
    with pytest.raises(ValueError, match=f"3 units cannot be split among {stages} stages"):
        partition([1.0, 2.0, 3.0], stages)


@pytest.mark.parametrize(
    "rule", [bp.LocalLoss(), bp.DirectFeedbackAlignment(), bp.DirectRandomTargetProjection()]
)
def test_a_large_block_costs_more_and_nothing_is_changed(rule):
    torch.manual_seed(0)
    large = nn.Sequential(nn.Linear(6, 64), nn.Dropout(), nn.BatchNorm1d(64), nn.Linear(64, 6))
    model = nn.Sequential(nn.Linear(8, 6), nn.Tanh(), large, nn.Linear(6, 4))
    handle = bp.attach(model, rule)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    x, y = torch.randn(5, 8), torch.randint(4, (5,))
    drawn = torch.get_rng_state()
    costs = counted_costs(handle, x, y, F.cross_entropy)
    assert counted_costs(handle, x, y, F.cross_entropy) == costs
    assert len(costs) == 3
    assert costs.index(max(costs)) == 1
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(p.grad is None for p in [*model.parameters(), *handle.parameters()])
    assert int(handle.state_dict().get("passes", 0)) == 0


def test_a_class_of_ones_own_that_is_a_chain_is_counted_too():
    class Chain(nn.Sequential):
        pass

    model = Chain(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))
    handle = bp.attach(model, bp.LocalLoss(bp.CrossEntropy()))
    costs = counted_costs(handle, torch.randn(5, 8), torch.randint(4, (5,)), F.cross_entropy)
    assert len(costs) == 2
    assert all(cost > 0 for cost in costs)
