"""Chains that run as one operation: when they do, what they take, and which parts learn."""

import gc
import weakref

import pytest
import torch
import torch.nn.functional as F
from tests import internals
from torch import nn
from torch.nn.utils import parametrizations

import beyondprop as bp
from beyondprop.engine.fast import fused

X, Y = torch.randn(6, 8), torch.arange(6) % 4


def mlp():
    return nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))


def fused_form(model):
    return internals.fused(model)


def test_it_steps_aside(monkeypatch):
    model = mlp()
    bp.attach(model, bp.DirectFeedbackAlignment())
    form = fused_form(model)
    expected = [id(p) for p in model.parameters()]
    assert [id(p) for p in form.parameters(X)] == expected
    assert form.parameters(X.double()) is None
    assert form.parameters(X[:, :5]) is None
    assert form.parameters(torch.randn(2, 6, 8)) is None
    assert form.parameters([X]) is None
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert form.parameters(X) is None
    monkeypatch.setattr(internals.SETTINGS, "fused_up_to", 6 * (8 + 8) - 1)
    assert form.parameters(X) is None
    monkeypatch.setattr(internals.SETTINGS, "fused_up_to", 6 * (8 + 8))
    assert form.parameters(X) is not None
    handle = model[3].register_forward_hook(lambda *_: None)
    assert form.parameters(X) is None
    handle.remove()
    assert form.parameters(X) is not None
    parametrizations.weight_norm(model[2])
    assert form.parameters(X) is None


def test_it_steps_aside_where_a_weight_is_no_parameter():
    model = mlp()
    bp.attach(model, bp.DirectFeedbackAlignment())
    weight = model[2].weight.detach()
    del model[2].weight
    model[2].weight = weight
    assert fused_form(model).parameters(X) is None
    F.cross_entropy(model(X), Y).backward()
    assert model[2].bias.grad is not None


@pytest.mark.parametrize("name", [name for name in bp.rules.RULES if name != "ff"])
def test_a_chain_is_fused_unless_feedback_is_kept(name):
    model, rule = mlp(), bp.rules.make(name)
    handle = bp.attach(model, rule)
    plain = (
        rule.traits.ends_graph
        and not internals.state(handle).needed
        and not isinstance(rule, bp.rules.LossRule)
    )
    assert (internals.fused(model) is not None) == plain


def test_only_some_parts_learn():
    """What does not learn costs no product, and what does learns the same."""
    found = []
    for limit in (0, internals.FUSED_UP_TO):
        torch.manual_seed(0)
        model = mlp()
        model[2].bias.requires_grad_(False)
        model[4].weight.requires_grad_(False)
        x = X.clone().requires_grad_()
        rules = {"0": bp.DirectFeedbackAlignment(), "2": bp.Frozen(), "4": bp.Backprop()}
        bp.attach(model, rules)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(internals.SETTINGS, "fused_up_to", limit)
            F.cross_entropy(model(x), Y).backward()
        found.append([x.grad, *(p.grad for p in model.parameters())])
    assert [g is None for g in found[0]] == [False, False, False, True, True, True, False]
    torch.testing.assert_close(*found)


def test_a_frozen_first_block_hides_the_input():
    for limit in (0, internals.FUSED_UP_TO):
        model = mlp()
        x = X.clone().requires_grad_()
        bp.attach(model, {"0": bp.Frozen(), "*": bp.DirectFeedbackAlignment()})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(internals.SETTINGS, "fused_up_to", limit)
            F.cross_entropy(model(x), Y).backward()
        assert x.grad is None
        assert model[2].weight.grad is not None


def test_it_takes_the_parameters_of_the_call():
    """`torch.func.functional_call` swaps them for the time of a call."""
    torch.manual_seed(0)
    model, other = mlp(), mlp()
    bp.attach(model, bp.DirectFeedbackAlignment())
    bp.attach(other, bp.DirectFeedbackAlignment())
    expected = other(X)
    F.cross_entropy(expected, Y).backward()
    given = {name: p.detach().clone().requires_grad_() for name, p in other.named_parameters()}
    output = torch.func.functional_call(model, given, (X,))
    assert "FusedChain" in type(output.grad_fn).__name__
    F.cross_entropy(output, Y).backward()
    torch.testing.assert_close(output, expected)
    for name, parameter in other.named_parameters():
        torch.testing.assert_close(given[name].grad, parameter.grad)
    assert all(p.grad is None for p in model.parameters())


def test_one_signal_serves_layers_of_one_width(monkeypatch):
    model = nn.Sequential(
        *(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.Tanh()),
        *(nn.Linear(8, 5), nn.Sigmoid(), nn.Linear(5, 4)),
    )
    rule = bp.DirectFeedbackAlignment()
    bp.attach(model, rule)
    asked = []
    signal = type(rule).signal
    monkeypatch.setattr(
        type(rule), "signal", lambda rule, at: asked.append(at.shape) or signal(rule, at)
    )
    F.cross_entropy(model(X), Y).backward()
    assert asked == [(6, 8), (6, 5)]


def test_its_activations_go_with_the_backward_pass(monkeypatch):
    """Also where the output is kept, as by a loop that averages it later."""
    kept = []
    states = fused.hidden_states
    monkeypatch.setattr(
        fused,
        "hidden_states",
        lambda *given: (found := states(*given), kept.extend(map(weakref.ref, found[1:])))[0],
    )
    model = mlp()
    bp.attach(model, bp.DirectFeedbackAlignment())
    output = model(X)
    gc.collect()
    loss = F.cross_entropy(output, Y)
    loss.backward()
    assert len(kept) == 2
    assert all(ref() is None for ref in kept)
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()
    assert output.grad_fn is not None


def test_an_input_changed_before_the_backward_pass_is_noticed():
    model, x = mlp(), X.clone()
    bp.attach(model, bp.DirectFeedbackAlignment())
    loss = F.cross_entropy(model(x), Y)
    x.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
