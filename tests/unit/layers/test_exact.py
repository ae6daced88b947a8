"""What rules of layers leave exact, because one asked for it, and what they refuse to cover."""

from dataclasses import replace

import pytest
import torch
from tests import internals
from torch import nn
from torch.nn.utils import parametrizations
from transport import Only, Transport, outcome, rand

import beyondprop as bp


class Scale(nn.Module):
    """A module with a parameter of its own."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.full((4,), 2.0))

    def forward(self, x):
        return self.scale * x


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.LSTM(4, 4)

    def forward(self, x):
        return self.inner(x)[0]


class Paired(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Bilinear(4, 4, 4)

    def forward(self, x):
        return self.inner(x, x)


MADE = {"LSTM": Recurrent, "Bilinear": Paired, "Scale": lambda: Only(Scale())}
NAMES = {"LSTM": "1.inner", "Bilinear": "1.inner", "Scale": "1.layer"}


def model_with(kind):
    return nn.Sequential(nn.Linear(4, 4), MADE[kind](), nn.Linear(4, 4)).double()


@pytest.mark.parametrize("kind", list(MADE))
def test_what_cannot_be_covered_is_refused_with_the_ways_out(kind):
    name = NAMES[kind]
    with pytest.raises(bp.AttachError) as caught:
        bp.attach(model_with(kind), bp.FeedbackAlignment())
    sentence = str(caught.value)
    assert f"FeedbackAlignment cannot cover '{name}' ({kind}): it covers Linear" in sentence
    assert f"FeedbackAlignment(exact=('{name}',))" in sentence
    assert "Backprop()" in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize("asked", ["name", "pattern", "block"])
@pytest.mark.parametrize("kind", list(MADE))
def test_what_cannot_be_covered_keeps_its_exact_backward_when_asked(kind, asked):
    model, name, x = model_with(kind), NAMES[kind], rand(3, 2, 4)
    pattern = {"name": name, "pattern": "1.*", "block": "1"}[asked]
    plain = outcome(model, lambda model: model(x), [x])
    handle = bp.attach(model, Transport(factor=2.0, exact=(pattern,)))
    named = handle.report.rows[1].change.partition("exact, as asked: ")[2].split(", ")
    assert set(named) == {name} | ({"1"} if asked == "block" else set())
    assert "as asked" not in handle.report.rows[0].change + handle.report.rows[2].change
    assert [row.change.split(";")[0] for row in handle.report.rows] == [
        "own backward for 0",
        "own backward for no layer",
        "own backward for 2",
    ]
    ours = outcome(model, lambda model: model(x), [x])
    torch.testing.assert_close(ours[0], plain[0])
    # Behind the last layer every error is twice as large, behind the first four times.
    factors = [4.0, 2.0, 2.0, *[2.0 for _ in model[1].parameters()], 1.0, 1.0]
    for own, found, factor in zip(plain[1], ours[1], factors, strict=True):
        torch.testing.assert_close(found, factor * own)


@pytest.mark.parametrize("kind", list(MADE))
def test_what_cannot_be_covered_can_be_a_block_of_its_own_with_backprop(kind):
    model = model_with(kind)
    rules = {"1": bp.Backprop(), "*": bp.FeedbackAlignment()}
    handle = bp.attach(model, rules)
    assert handle.report.rows[1].change.startswith("nothing changed")
    model(rand(3, 2, 4)).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_an_exact_layer_among_layers_that_are_covered():
    model, x = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4)).double(), rand(2, 4)
    plain = outcome(model, lambda model: model(x), [x])
    handle = bp.attach(model, Transport(factor=2.0, exact=("2",)))
    assert handle.report.rows[1].change == "own backward for no layer; exact, as asked: 2"
    ours = outcome(model, lambda model: model(x), [x])
    torch.testing.assert_close(ours[1], [2 * plain[1][0], *plain[1][1:]])


@pytest.mark.parametrize("pattern", ["layer", "layer.out_proj"])
def test_attention_or_a_part_of_it_can_be_left_exact(pattern):
    """With attention goes its output projection, a module in it."""
    layer, x = nn.MultiheadAttention(4, 2).double(), rand(3, 2, 4)
    model = Only(layer)
    plain = outcome(model, lambda model: model(x, x, x), [x])
    handle = bp.attach(model, Transport(factor=2.0, exact=(pattern,)), blocks=["layer"])
    change = handle.report.rows[0].change
    assert "exact, as asked: layer" in change
    assert (internals.is_swapped(layer.out_proj)) is False
    ours = outcome(model, lambda model: model(x, x, x), [x])
    if pattern == "layer":
        torch.testing.assert_close(ours, plain)
    else:
        torch.testing.assert_close(ours[1], [2 * plain[1][0], *plain[1][1:]])


def test_the_settings_of_a_rule_name_what_is_exact():
    assert bp.FeedbackAlignment(exact=("a.*",)).settings()["exact"] == ["a.*"]


def test_a_single_string_is_no_list_of_patterns():
    """Each of its letters would be a pattern, and what was meant would not be exact."""
    with pytest.raises(bp.UserError, match=r"exact=\('head',\)"):
        bp.FeedbackAlignment(exact="head")


@pytest.mark.parametrize("rule", ["fa", "kp", "wm", "usf"])
def test_attaching_computes_no_made_weight(rule):
    """To ask spectral norm for a weight is a step of its power iteration."""
    model = nn.Sequential(
        nn.Linear(4, 5), parametrizations.spectral_norm(nn.Linear(5, 5)), nn.Linear(5, 3)
    )
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    bp.attach(model, replace(bp.rules.make(rule), exact=("1",)))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
