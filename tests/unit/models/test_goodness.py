"""Networks that classify by goodness, and what writes classes into their inputs."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import internals
from torch import nn

import beyondprop as bp
from beyondprop.models.goodness import (
    AddedPattern,
    FirstPixels,
    GoodnessNetwork,
    goodness,
    normalised,
)


def net(first=1, label=None):
    torch.manual_seed(0)
    parts = [nn.Sequential(nn.Linear(8, 8), nn.ReLU()) for _ in range(3)]
    return GoodnessNetwork(parts, label or FirstPixels(3), first)


@settings(max_examples=20, deadline=None)
@given(
    rows=st.integers(1, 4),
    shape=st.sampled_from([(5,), (2, 3), (2, 2, 3)]),
    scale=st.floats(0.1, 9),
)
def test_normalised_activities_have_goodness_one_whatever_their_size(rows, shape, scale):
    x = torch.randn(rows, *shape, dtype=torch.float64)
    found = normalised(x)
    torch.testing.assert_close(
        goodness(found), torch.ones(rows, dtype=torch.float64), rtol=1e-4, atol=0
    )
    torch.testing.assert_close(normalised(scale * x), found, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(goodness(scale * x), scale**2 * goodness(x))


def test_silence_stays_silent():
    x = torch.zeros(2, 4, requires_grad=True)
    normalised(x).sum().backward()
    assert not normalised(x).any()
    assert x.grad.isfinite().all()


def test_first_pixels_are_one_hot_and_the_rest_is_kept():
    x = torch.arange(24.0).view(2, 1, 3, 4)
    before = x.clone()
    made = FirstPixels(3, low=-1.0, high=5.0)(x)
    assert made.shape == (6, 1, 3, 4)
    assert torch.equal(x, before)
    flat = made.flatten(1)
    assert flat[:, :3].tolist() == [[5, -1, -1], [-1, 5, -1], [-1, -1, 5]] * 2
    assert torch.equal(flat[:, 3:], x.flatten(1)[:, 3:].repeat_interleave(3, 0))


def test_added_patterns_are_the_seeds_and_as_strong_as_asked():
    label = AddedPattern(3, (4, 50, 50), strength=0.5, seed=2)
    x = torch.randn(2, 4, 50, 50)
    made = label(x).view(2, 3, 4, 50, 50)
    patterns = made[0] - x[0]
    torch.testing.assert_close(made[1] - x[1], patterns, rtol=0, atol=1e-5)
    assert patterns.flatten(1).std(1).tolist() == pytest.approx([0.5] * 3, rel=0.05)
    again = AddedPattern(3, (4, 50, 50), strength=0.5, seed=2)
    assert torch.equal(again.patterns, label.patterns)
    assert not torch.equal(AddedPattern(3, (4, 50, 50), 0.5, seed=3).patterns, label.patterns)
    assert not label.state_dict()
    assert label.double()(x.double()).dtype == torch.float64


@pytest.mark.parametrize(
    "label", [FirstPixels(3), AddedPattern(3, (8,))], ids=["pixels", "pattern"]
)
def test_candidates_pick_classes_from_all(label):
    x = torch.randn(2, 8)
    every = label(x).view(2, 3, 8)
    candidates = torch.tensor([[2, 0], [1, 1]])
    for dtype in (torch.int64, torch.int32):
        made = label(x, candidates.to(dtype)).view(2, 2, 8)
        for sample in range(2):
            assert torch.equal(made[sample], every[sample][candidates[sample]])


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        (torch.tensor([0, 1]), r"shape \(batch, k\) for a batch of 2, got \(2,\)"),
        (torch.tensor([[0, 1]]), r"shape \(batch, k\) for a batch of 2, got \(1, 2\)"),
        (torch.tensor([[0, 1], [1, 3]]), "class numbers from 0 to 2"),
        (torch.tensor([[0, 1], [1, -1]]), "class numbers from 0 to 2"),
        (torch.tensor([[0.0, 1.0], [1.0, 2.0]]), "class numbers from 0 to 2"),
    ],
    ids=["one-dimension", "batch", "too-large", "negative", "floats"],
)
@pytest.mark.parametrize(
    "label", [FirstPixels(3), AddedPattern(3, (8,))], ids=["pixels", "pattern"]
)
def test_candidates_that_are_no_classes(label, candidates, message):
    with pytest.raises(bp.UserError, match=message):
        net(label=label)(torch.randn(2, 8), candidates)


def test_inputs_that_have_no_room_or_another_shape():
    with pytest.raises(bp.UserError, match="an input of 4 numbers has no room for 5 classes"):
        FirstPixels(5)(torch.randn(2, 4))
    with pytest.raises(bp.UserError, match=r"of shape \(4, 4\), not \(1, 4, 4\)"):
        AddedPattern(3, (4, 4))(torch.randn(2, 1, 4, 4))


@pytest.mark.parametrize("first", [-1, 3])
def test_a_first_block_that_is_not_there(first):
    with pytest.raises(bp.UserError, match=f"first={first} leaves no block whose goodness counts"):
        net(first)


def test_scores_are_sums_of_goodness_from_the_first_block_on():
    x = torch.randn(4, 8)
    scores = [net(first)(x) for first in range(3)]
    assert all(s.shape == (4, 3) for s in scores)
    single = [scores[0] - scores[1], scores[1] - scores[2], scores[2]]
    h = FirstPixels(3)(x)
    for number, block in enumerate(net().blocks):
        h = block(normalised(h))
        torch.testing.assert_close(single[number], goodness(h).view(4, 3), rtol=1e-4, atol=1e-6)


def test_it_trains_by_backprop_and_by_rules_that_cut():
    x, y = torch.randn(6, 8), torch.arange(6) % 3
    for rule in (bp.Backprop(), bp.Frozen(), bp.FeedbackAlignment()):
        model = net()
        bp.attach(model, rule, ["blocks.*"])
        F.cross_entropy(model(x), y).backward()
        taught = [p.grad is not None for p in model.parameters()]
        assert taught == [rule.name != "frozen"] * 4 + [True] * 2


@pytest.mark.parametrize(
    ("targets", "candidates", "message"),
    [
        (torch.tensor([0, 3]), None, "targets run from 0 to 3, but every sample has 3 candidates"),
        (torch.tensor([-1, 1]), None, "targets run from -1 to 1"),
        (torch.tensor([0, 2]), torch.tensor([[0, 1], [1, 2]]), "every sample has 2 candidates"),
        (torch.tensor([0.0, 1.0]), None, "needs the number of the true candidate"),
        (torch.eye(2, 3), None, "needs the number of the true candidate"),
        (torch.tensor([0, 1, 2, 0]), None, "needs the number of the true candidate"),
        (torch.tensor([0, 0]), torch.tensor([[0], [1]]), "at least two candidates"),
    ],
)
def test_targets_that_forward_forward_cannot_use(targets, candidates, message):
    model = net()
    handle = bp.attach(model, bp.ForwardForward(), ["blocks.*"])
    with handle.targets(targets), pytest.raises(bp.UserError, match=message):
        model(torch.randn(2, 8), candidates)
    assert internals.open_pass(handle) is None


def test_right_and_wrong_candidates_weigh_the_same_and_their_order_does_not_count():
    x, y = torch.randn(4, 8), torch.tensor([0, 1, 2, 0])
    gradients = []
    for order in (torch.tensor([0, 1, 2]), torch.tensor([2, 0, 1])):
        model = net()
        handle = bp.attach(model, bp.ForwardForward(), ["blocks.*"])
        places = (order == y.unsqueeze(1)).long().argmax(1)
        with handle.targets(places):
            F.cross_entropy(model(x, order.expand(4, -1)), places).backward()
        gradients.append([p.grad for p in model.parameters()])
    torch.testing.assert_close(*gradients)


def test_pairs_leave_running_statistics_alone():
    torch.manual_seed(0)
    parts = nn.Linear(8, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3)
    model = nn.Sequential(*parts)
    plain = copy.deepcopy(model)
    handle = bp.attach(model, bp.SelfContrastiveForwardForward())
    x, y = torch.randn(10, 8), torch.arange(10) % 3
    F.cross_entropy(model(x), y).backward()
    plain(x)
    torch.testing.assert_close(dict(model.named_buffers()), dict(plain.named_buffers()))
    assert not handle.needs_targets
    assert model[0].weight.grad.any()


@pytest.mark.parametrize(
    ("x", "message"), [(torch.randn(1, 8), "it needs at least two"), (None, "tensor of floats")]
)
def test_inputs_that_cannot_be_paired(x, message):
    first = nn.Linear(8, 4) if x is not None else nn.Embedding(9, 4)
    model = nn.Sequential(first, nn.Tanh(), nn.Linear(4, 3))
    handle = bp.attach(model, bp.SelfContrastiveForwardForward())
    with pytest.raises(bp.UserError, match=message):
        model(torch.tensor([1, 2]) if x is None else x)
    assert internals.open_pass(handle) is None
