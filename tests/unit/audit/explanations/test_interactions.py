import random
from itertools import combinations

import numpy as np
import pytest
import torch
from tests.reference import shapley
from torch import nn

from beyondprop.audit import explanations as ex
from beyondprop.errors import UserError

pytest.importorskip("shapiq")


def test_a_function_with_a_known_interaction():
    """f = x1 x2 + 3 x3 at ones, hidden by zeros: the pair says 1, the third 3, and no other."""

    def told(x, classes):
        del classes
        return x[:, 0] * x[:, 1] + 3 * x[:, 2]

    game = ex.game_of(told, torch.ones(3), 0, torch.zeros(3), torch.arange(3))
    found = ex.interactions(game, 3)
    expected = torch.tensor([[0.0, 1, 0], [1, 0, 0], [0, 0, 0]], dtype=torch.float64)
    assert torch.allclose(found.pairs, expected, atol=1e-6)
    # The product's Shapley values are a half each, and half of the pair's 1 is taken from each.
    assert torch.allclose(found.single, torch.tensor([0.0, 0, 3]).double(), atol=1e-6)
    assert found.whole == 4
    assert found.from_pairs == pytest.approx(1 / 4)
    assert [players for players, _ in found.most(2)] == [(2,), (0, 1)]


@pytest.mark.parametrize("seed", range(3))
def test_any_game_as_by_brute_force(seed):
    count, draw = 5, random.Random(seed)
    worths = {each: draw.gauss(0, 1) for each in shapley.coalitions(range(count))}

    def game(kept):
        return np.array([worths[frozenset(np.flatnonzero(row).tolist())] for row in kept])

    found = ex.interactions(game, count, budget=2**count)
    expected = shapley.order_two(worths.__getitem__, count)
    for i in range(count):
        assert found.single[i].item() == pytest.approx(expected[(i,)], abs=1e-6)
    for i, j in combinations(range(count), 2):
        assert found.pairs[i, j].item() == pytest.approx(expected[(i, j)], abs=1e-6)
    total = found.single.sum() + found.pairs.sum() / 2
    assert total.item() == pytest.approx(found.whole, abs=1e-6)


def test_sixteen_patches_by_a_sample_of_the_coalitions():
    """A pair of patches in twelve more that act alone is found by 600 of 65,536 coalitions."""
    weights = torch.linspace(-1, 1, 16)

    def told(x, classes):
        del classes
        patch = x.unfold(2, 2, 2).unfold(3, 2, 2).mean((1, 4, 5)).flatten(1)  # (n, 16)
        return patch @ weights + 2 * patch[:, 3] * patch[:, 9]

    game = ex.game_of(
        told, torch.ones(1, 8, 8), 0, torch.zeros(1, 8, 8), ex.patches((1, 8, 8), 4, 4)
    )
    found = ex.interactions(game, 16, budget=600)
    assert found.largest_pairs(1)[0][0] == (3, 9)
    assert found.pairs[3, 9].item() == pytest.approx(2, abs=0.05)
    assert torch.allclose(found.single, weights.double(), atol=0.05)


def test_the_same_seed_draws_the_same_coalitions_and_no_generator_moves():
    model = nn.Sequential(nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 3))
    game = ex.game_of(ex.evidence(model), torch.randn(12), 1, torch.zeros(12), torch.arange(12))
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first, second = (ex.interactions(game, 12, 300, seed=4) for _ in range(2))
    assert torch.equal(first.pairs, second.pairs)
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()  # noqa: NPY002


def test_too_few_coalitions_are_refused():
    with pytest.raises(UserError, match="at least 138 coalitions"):
        ex.interactions(lambda kept: kept.sum(1), 16, budget=100)
    with pytest.raises(UserError, match="two parts"):
        ex.interactions(lambda kept: kept.sum(1), 1)
