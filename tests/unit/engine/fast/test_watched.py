"""Plain chains under rules of layers."""

import copy
import pickle

import pytest
import torch
from torch import nn

import beyondprop as bp
from beyondprop.engine.fast.watched import WatchedSequential


def chain():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))


def test_a_plain_chain_has_another_class_until_the_rules_are_removed():
    model = chain()
    handle = bp.attach(model, bp.FeedbackAlignment())
    assert type(model) is WatchedSequential
    assert str(handle.report).startswith("Sequential: 2 blocks")
    handle.remove()
    assert type(model) is nn.Sequential
    assert not any(name.startswith("_members") for name in vars(model))


def test_its_layers_are_looked_at():
    model = chain()
    bp.attach(model, bp.FeedbackAlignment())
    other = copy.deepcopy(model)
    again = pickle.loads(pickle.dumps(model))
    model[2] = nn.Linear(8, 3)
    with pytest.raises(bp.UserError, match="'2' was replaced"):
        model(torch.randn(2, 4))
    with bp.exact_gradients(model):
        model(torch.randn(2, 4))
    for each in (other, again):
        each(torch.randn(2, 4)).sum().backward()
        each.append(nn.Linear(3, 3))
        with pytest.raises(bp.UserError, match="was replaced, added or removed"):
            each(torch.randn(2, 4))


def test_a_slice_runs():
    model = chain()
    bp.attach(model, bp.FeedbackAlignment())
    x = torch.randn(2, 4)
    torch.testing.assert_close(model[:2](x), torch.tanh(model[0](x)))
