"""Supermasks: what they choose, and what they learn."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from beyondprop import UserError, slots
from beyondprop.slots import (
    MulticoatedSupermask,
    SignedSupermask,
    Supermask,
)
from tests.reference import slots as reference
from tests.unit.slots.internals import arrays, fixed, weights
from tests.unit.slots.networks import MASKS, Task


def slow(kind):
    """Return how the reference makes weights of values and scores."""
    if isinstance(kind, Supermask):
        return lambda v, s: reference.edge_popup(v, s, kind.keep)
    if isinstance(kind, MulticoatedSupermask):
        return lambda v, s: reference.multicoated(v, s, kind.keeps)
    return lambda v, s: reference.signed(v, s, kind.threshold)


def of(kind, values, scores):
    """Return the weights that scores choose."""
    options = kind.options(values)
    assert options.shape == (kind.count, *values.shape[1:])
    chosen = kind.chosen(scores)
    assert chosen.dtype is torch.int64
    assert kind.planes == 1
    assert not kind.random
    return options.gather(0, chosen[None])[0]


shares = st.floats(0.01, 0.99)
masks = (
    st.builds(Supermask, shares)
    | st.builds(SignedSupermask, st.floats(0, 3))
    | st.lists(shares, min_size=1, max_size=5, unique=True).map(
        lambda keeps: MulticoatedSupermask(tuple(sorted(keeps, reverse=True)))
    )
)


@settings(deadline=None)
@given(masks, st.lists(st.integers(-4, 4), min_size=1, max_size=60), st.booleans())
def test_as_the_papers_say_with_ties_too(kind, scores, apart):
    scores = torch.tensor(scores, dtype=torch.float32)[None, :, None]
    if apart:
        scores = scores + torch.rand_like(scores)
    values = torch.randn_like(scores)
    expected = slow(kind)(values.numpy(), scores.numpy())
    assert torch.equal(of(kind, values, scores), torch.from_numpy(expected))


@settings(deadline=None)
@given(shares, st.integers(1, 300), st.booleans())
def test_exactly_the_share_is_kept(keep, n, level):
    scores = torch.zeros(1, n) if level else torch.rand(1, n)
    chosen = Supermask(keep).chosen(scores)
    assert chosen.sum() == round(keep * n)
    if level:  # of equal scores the first
        assert chosen.tolist() == sorted(chosen.tolist(), reverse=True)


def test_equal_scores_at_the_bound():
    scores = torch.tensor([[[1.0, 2, 0], [1, 1, 3]]])
    assert Supermask(0.5).chosen(scores).tolist() == [[1, 1, 0], [0, 0, 1]]
    coats = MulticoatedSupermask((0.99, 0.5, 0.17))
    assert coats.chosen(scores).tolist() == [[2, 2, 1], [1, 1, 3]]


def test_the_highest_scores_not_the_largest():
    """The scores are ranked, as in the paper, and not their absolute values."""
    scores = torch.tensor([[-9.0, 1, 2, -8]])
    assert Supermask(0.5).chosen(scores).tolist() == [0, 1, 1, 0]


def test_a_threshold_is_strict():
    scores = torch.tensor([[0.5, -0.5, 0.51, -0.51, 0.0]])
    assert SignedSupermask(0.5).chosen(scores).tolist() == [1, 1, 2, 0, 1]
    assert SignedSupermask(0.0).chosen(scores).tolist() == [2, 0, 2, 0, 1]


def test_options():
    values = torch.tensor([[0.5, -0.25]])
    assert Supermask().options(values).tolist() == [[0, 0], [0.5, -0.25]]
    coated = MulticoatedSupermask((0.5, 0.25)).options(values)
    assert coated.tolist() == [[0, 0], [0.5, -0.25], [1, -0.5]]
    assert SignedSupermask().options(values).tolist() == [[-0.5, 0.25], [0, 0], [0.5, -0.25]]


@pytest.mark.parametrize("kind", MASKS)
def test_learns_as_the_reference(kind):
    settings = {"lr": 0.2, "momentum": 0.8, "weight_decay": 0.01}
    task = Task()
    model = task.model(kind)
    values, scores = arrays(model)
    velocities, begun, moved = [None, None], weights(model), 0
    optimizer = slots.drive(torch.optim.SGD(model.parameters(), **settings), model)
    for _ in range(60):
        for weight, value, score in zip(weights(model), values, scores, strict=True):
            assert torch.equal(weight, torch.from_numpy(slow(kind)(value, score)))
        task.step(model, optimizer)
        reference.step(slow(kind), values, scores, velocities, task.gradient, **settings)
    for weight, first in zip(weights(model), begun, strict=True):
        moved += int((weight != first).sum())
    assert moved > 5


@pytest.mark.parametrize("kind", [Supermask(), MulticoatedSupermask(), SignedSupermask()])
def test_initial_scores_and_options_of_a_converted_layer(kind):
    layers = nn.Sequential(nn.Linear(100, 50), nn.Flatten(), nn.Unflatten(1, (2, 5, 5)))
    model = layers.append(nn.Conv2d(2, 30, 3))
    for reel in slots.convert(model, kind, seed=0).reels:
        scale = kind.conv_scores if reel.parameter.dim() == 4 else kind.linear_scores
        height = scale * reel.source.deviation
        values, scores = fixed(reel)
        assert (scores.min() < 0) == kind.centred
        assert 0.98 * height < scores.abs().max() <= height * (1 + 1e-6)
        expected = kind.chosen(scores)
        got = reel.option()
        options = kind.options(values)
        assert torch.equal(got, expected)
        assert torch.equal(options.gather(0, got[None])[0], reel.parameter)
        assert len(expected.unique()) == kind.count


def test_published_edge_popup_scores_lie_within_one_over_the_root_of_the_inputs():
    (reel,) = slots.convert(nn.Linear(64, 8, bias=False), Supermask()).reels
    assert math.isclose(reel.source.height, 1 / 8)


@pytest.mark.parametrize("keep", [0, 1, 0.0, 1.0, -0.5, 1.5, math.nan, math.inf, "0.5", None, True])
def test_no_share(keep):
    with pytest.raises(UserError, match="keep must be a share between 0 and 1"):
        Supermask(keep)


@pytest.mark.parametrize(
    "keeps",
    [
        (),
        0.5,
        None,
        "0.5",
        (0.5, 0.5),
        (0.25, 0.5),
        (1.1, 0.5),
        (0.5, 0.0),
        (0.5, -0.1),
        (0.5, math.nan),
        (math.nan, 0.5),
        (math.inf,),
        (0.5, "0.25"),
        (True, 0.5),
        tuple(1 - k / 256 for k in range(256)),
    ],
)
def test_no_shares(keeps):
    with pytest.raises(UserError, match="keeps must be 1 to 255 shares that decrease"):
        MulticoatedSupermask(keeps)


@pytest.mark.parametrize("threshold", [-0.01, math.nan, math.inf, "0.01", None, True])
def test_no_threshold(threshold):
    with pytest.raises(UserError, match="threshold must be a finite number"):
        SignedSupermask(threshold)


def test_shares_given_as_a_list_are_the_same_kind():
    assert MulticoatedSupermask([0.5, 0.25]) == MulticoatedSupermask((0.5, 0.25))
    assert hash(MulticoatedSupermask([0.5, 0.25])) == hash(MulticoatedSupermask((0.5, 0.25)))
