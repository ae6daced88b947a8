"""A step without autograd is the ordinary loop's step."""

from contextlib import nullcontext
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

import beyondprop as bp


def chain(widths, activation=nn.Tanh, bias=True):
    layers = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after, bias=bias), activation()]
    return nn.Sequential(*layers[:-1]).double()


@pytest.mark.parametrize("name", ["dfa", "drtp", "frozen"])
@settings(max_examples=15, deadline=None)
@given(
    widths=st.lists(st.sampled_from([2, 3, 3, 5]), min_size=2, max_size=6),
    activation=st.sampled_from([nn.ReLU, nn.Tanh, nn.Sigmoid]),
    bias=st.booleans(),
    frozen=st.integers(0, 5),
    seed=st.integers(0, 2**16),
)
@example(widths=[2, 2, 2, 3, 3, 2], activation=nn.ReLU, bias=False, frozen=2, seed=0)
def test_steps_equal_those_of_the_ordinary_loop(name, widths, activation, bias, frozen, seed):
    models = []
    for _ in range(2):
        torch.manual_seed(seed)
        models.append(chain(widths, activation, bias))
        parameters = list(models[-1].parameters())
        if frozen < len(parameters) - 1:
            parameters[frozen].requires_grad_(False)
    handles = [bp.attach(model, bp.rules.make(name)) for model in models]
    if len(widths) == 2:  # a single layer has nothing to be taught, nor a form of its own
        return
    step = bp.ChainStep(handles[0], 0.1)
    optimizer = torch.optim.SGD(models[1].parameters(), lr=0.1)
    for _ in range(4):
        x, y = torch.randn(6, widths[0]).double(), torch.randint(widths[-1], (6,))
        loss = step(x, y)
        with handles[1].targets(y):
            expected = F.cross_entropy(models[1](x), y)
        optimizer.zero_grad()
        expected.backward()
        optimizer.step()
        torch.testing.assert_close(loss, expected.detach())
    for ours, theirs in zip(*(model.parameters() for model in models), strict=True):
        torch.testing.assert_close(ours, theirs)
        assert ours.grad is None


def test_the_learning_rate_may_change():
    model = chain([3, 4, 2])
    step = bp.ChainStep(bp.attach(model, bp.DirectFeedbackAlignment()), 0.1)
    step.learning_rate = 0.0
    before = [p.clone() for p in model.parameters()]
    step(torch.randn(5, 3).double(), torch.zeros(5, dtype=torch.int64))
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize(
    ("build", "rule"),
    [
        (lambda: nn.Sequential(nn.Conv1d(1, 1, 1), nn.ReLU(), nn.Linear(3, 2)), "dfa"),
        (lambda: chain([3, 4, 2]), "fa"),
        (lambda: chain([3, 4, 2]), "dkp"),
        (lambda: chain([3, 4, 2], nn.GELU), "dfa"),
    ],
)
def test_what_it_cannot_step_is_refused(build, rule):
    handle = bp.attach(build(), bp.rules.make(rule))
    with pytest.raises(bp.UserError, match="ChainStep takes"):
        bp.ChainStep(handle, 0.1)


def test_a_batch_that_does_not_fit_is_refused():
    model = chain([3, 4, 2])
    step = bp.ChainStep(bp.attach(model, bp.DirectFeedbackAlignment()), 0.1)
    y = torch.zeros(5, dtype=torch.int64)
    with pytest.raises(bp.UserError, match="cannot take a batch"):
        step(torch.randn(5, 4).double(), y)
    model[0].register_forward_hook(lambda *_: None)
    with pytest.raises(bp.UserError, match="cannot take a batch"):
        step(torch.randn(5, 3).double(), y)


@pytest.mark.parametrize("what", ["remove", "exact", "replace", "append"])
def test_a_chain_that_is_no_longer_taught_is_refused(what):
    model = chain([3, 4, 2])
    handle = bp.attach(model, bp.DirectFeedbackAlignment())
    step = bp.ChainStep(handle, 0.1)
    before = [p.clone() for p in model.parameters()]
    x, y = torch.randn(5, 3).double(), torch.zeros(5, dtype=torch.int64)
    if what == "remove":
        handle.remove()
    if what == "replace":
        model[0] = nn.Linear(3, 4).double()
        before = [p.clone() for p in model.parameters()]
    if what == "append":
        model.append(nn.Linear(2, 2).double())
        before = [p.clone() for p in model.parameters()]
    around = bp.exact_gradients(model) if what == "exact" else nullcontext()
    with around, pytest.raises(bp.UserError, match="attach again"):
        step(x, y)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
