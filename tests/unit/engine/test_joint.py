"""That blocks with one signal share it in a backward pass, and that it is held no longer."""

import weakref
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from tests import internals
from torch import nn

import beyondprop as bp
from beyondprop.projections import BySize

ROWS = 5


def network(*widths):
    torch.manual_seed(1)
    hidden = [nn.Sequential(nn.Linear(a, b), nn.Tanh()) for a, b in pairwise(widths)]
    return nn.Sequential(*hidden, nn.Linear(widths[-1], 4))


def loss_of(model):
    x = torch.linspace(-1, 1, ROWS * 8).view(ROWS, 8)
    return F.cross_entropy(model(x), torch.arange(ROWS) % 4)


def gradients(model):
    return [p.grad.clone() for p in model.parameters()]


@pytest.fixture(autouse=True)
def large(monkeypatch):
    """Have each block's signal made in a node of its own."""
    monkeypatch.setattr(internals.SETTINGS, "node_above", 0)
    monkeypatch.setattr(internals.SETTINGS, "fused_up_to", 0)


@pytest.fixture
def signals(monkeypatch):
    """Return weak references to all signals that are made, and how many lived at each time."""
    made, alive = [], []

    def project(self, x, out_features, stream):
        signal = x @ self.matrix(x.shape[-1], out_features, stream, x)
        made.append(weakref.ref(signal))
        alive.append(sum(each() is not None for each in made))
        return signal

    monkeypatch.setattr(BySize, "project", project)
    return made, alive


@pytest.mark.parametrize("rule", [bp.DirectFeedbackAlignment, bp.DirectRandomTargetProjection])
def test_blocks_with_one_signal_make_it_once(rule, signals, monkeypatch):
    made, _ = signals
    found = []
    for node_above in (internals.NODE_ABOVE, 0):  # the first is shared at the model's outputs
        monkeypatch.setattr(internals.SETTINGS, "node_above", node_above)
        model = network(8, 8, 8, 8, 8)
        handle = bp.attach(model, rule())
        with handle.targets(torch.arange(ROWS) % 4):
            loss = loss_of(model)
        loss.backward(retain_graph=True)
        found.append(gradients(model))
        assert len(made) == len(found)
        assert made[-1]() is None  # although the graph lives on
    assert all(map(torch.equal, *found))


def test_no_two_signals_are_held_that_one_block_alone_still_needs(signals):
    made, alive = signals
    model = network(8, 8, 8, 6, 6, 7, 7)
    bp.attach(model, bp.DirectFeedbackAlignment())
    loss_of(model).backward()
    assert len(made) == 3
    assert max(alive) == 1


def test_a_signal_waits_for_its_blocks_past_those_of_another(signals):
    """As in transformers cut within their layers, where two widths take turns."""
    made, alive = signals
    model = network(8, 8, 6, 8, 6, 7)
    bp.attach(model, bp.DirectFeedbackAlignment())
    loss_of(model).backward()
    assert len(made) == 3
    assert alive == [1, 1, 2]  # of 7, 6 and 8; 6 waits for the block before 8
    assert all(each() is None for each in made)


def test_a_second_backward_pass_makes_signals_of_its_own_errors():
    model = network(8, 8, 8)
    bp.attach(model, bp.DirectFeedbackAlignment())
    loss = loss_of(model)
    first = model[1][0].weight
    torch.autograd.grad(loss, [first], retain_graph=True)  # ends before the last block has its turn
    (3 * loss).backward()
    expected = network(8, 8, 8)
    bp.attach(expected, bp.DirectFeedbackAlignment())
    (3 * loss_of(expected)).backward()
    assert all(map(torch.equal, gradients(model), gradients(expected)))


def test_signals_at_the_outputs_count_once_where_they_are_shared(signals, monkeypatch):
    made, _ = signals
    monkeypatch.setattr(internals.SETTINGS, "node_above", 8 * ROWS)
    monkeypatch.setattr(internals.SETTINGS, "nodes_after", 8 * ROWS)
    model = network(8, 8, 8, 8, 8)
    bp.attach(model, bp.DirectFeedbackAlignment())
    loss_of(model).backward()
    assert len(made) == 1


@pytest.mark.parametrize("node_above", [internals.NODE_ABOVE, 0])
def test_blocks_whose_axes_differ_share_no_signal(node_above, monkeypatch):
    """Of one shape, a block of tokens gets each token's error, and one of features all of them."""
    monkeypatch.setattr(internals.SETTINGS, "node_above", node_above)
    x = torch.linspace(-1, 1, ROWS * 24).view(ROWS, 3, 8)

    def taught(**axes):
        torch.manual_seed(1)
        model = nn.Sequential(*[nn.Linear(8, 8) for _ in range(2)], nn.Linear(8, 4))
        named = {name[1:]: f"batch {words}" for name, words in axes.items()}
        bp.attach(model, bp.DirectFeedbackAlignment(), ["0", "1", "2"], axes=named)
        model(x).square().sum().backward()
        return model[0].weight.grad, model[1].weight.grad

    tokens = taught(_0="tokens features", _1="tokens features")
    features = taught(_0="features", _1="features")
    mixed = taught(_0="tokens features", _1="features")
    assert not torch.equal(tokens[1], features[1])
    assert torch.equal(mixed[0], tokens[0])
    assert torch.equal(mixed[1], features[1])
