"""What rules of layers leave exact, because one asked for it, and what they refuse to cover."""

from dataclasses import replace

import pytest
import torch
from tests import internals
from torch import nn
from torch.nn.utils import parametrizations
from transport import Only, Transport, outcome, rand

import beyondprop as bp


class Mixing(nn.Module):
    """A module with a weight of its own."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.eye(4) + 1)

    def forward(self, x):
        return x @ self.weight


class Gain(nn.Module):
    """A norm of one's own, as LayerScale and RMSNorm are."""

    def __init__(self, *shape):
        super().__init__()
        self.gain = nn.Parameter(torch.full(shape, 2.0))

    def forward(self, x):
        return self.gain * x


class Tokens(nn.Module):
    """A class token, position embeddings and a layer, as in a vision transformer."""

    def __init__(self, positions=(1, 3, 4)):
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, 4))
        self.positions = nn.Parameter(torch.randn(positions))
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        x = torch.cat([self.token.expand(len(x), 1, -1), x], 1)
        return self.layer(x + self.positions)


class Paired(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Bilinear(4, 4, 4)

    def forward(self, x):
        return self.inner(x, x)


MADE = {"Bilinear": Paired, "Mixing": lambda: Only(Mixing())}
NAMES = {"Bilinear": "1.inner", "Mixing": "1.layer"}


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


LEFT = "exact, as no weight carries the error: "


@pytest.mark.parametrize("shape", [(), (4,), (1, 1, 4), (1, 3, 4), (4, 1, 1), (1, 4, 2, 2)])
def test_vectors_and_what_is_added_to_all_samples_alike_stay_exact_and_are_named(shape):
    model = nn.Sequential(nn.Linear(4, 4), Gain(*shape), nn.Linear(4, 4))
    handle = bp.attach(model, bp.FeedbackAlignment())
    assert handle.report.rows[1].change == f"own backward for no layer; {LEFT}1"


@pytest.mark.parametrize("shape", [(4, 4), (1, 4), (4, 1), (2, 4, 4), (4, 1, 3, 3)])
def test_what_may_be_the_weight_of_a_product_is_refused(shape):
    model = nn.Sequential(nn.Linear(4, 4), Gain(*shape), nn.Linear(4, 4))
    with pytest.raises(bp.AttachError, match=r"cannot cover '1' .Gain.*exact=\('1',\)"):
        bp.attach(model, bp.FeedbackAlignment())


def test_gradients_pass_gains_and_tokens_exactly():
    model = nn.Sequential(Tokens(), Gain(4), nn.Linear(4, 2)).double()
    x = rand(2, 2, 4)
    plain = outcome(model, lambda m: m(x), [x])
    handle = bp.attach(model, Transport(factor=2.0))
    assert handle.report.rows[0].change == f"own backward for 0.layer; {LEFT}0.token, 0.positions"
    ours = outcome(model, lambda m: m(x), [x])
    factors = [4.0, 4.0, 4.0, 2.0, 2.0, 2.0, 1.0, 1.0]
    for own, found, factor in zip(plain[1], ours[1], factors, strict=True):
        torch.testing.assert_close(found, factor * own)


def test_loose_parameters_of_the_model_stay_exact_or_are_asked_for():
    handle = bp.attach(Tokens(), bp.FeedbackAlignment())
    assert [row.change for row in handle.report.rows] == [
        f"own backward for no layer; {LEFT}token",
        f"own backward for no layer; {LEFT}positions",
        "own backward for layer",
    ]
    with pytest.raises(bp.AttachError, match=r"'positions' .* of shape \(3, 4\), .*exact=\('pos"):
        bp.attach(Tokens((3, 4)), bp.FeedbackAlignment())
    with pytest.raises(bp.AttachError, match=r"'1.positions' .* of shape \(3, 4\), .*exact=\('1"):
        bp.attach(nn.Sequential(nn.Linear(4, 4), Tokens((3, 4))), bp.FeedbackAlignment())


@pytest.mark.parametrize("pattern", ["1.positions", "*.pos*"])
def test_a_parameter_can_be_named_as_exact(pattern):
    model = nn.Sequential(nn.Linear(4, 4), Tokens((3, 4)), nn.Linear(4, 2))
    handle = bp.attach(model, bp.FeedbackAlignment(exact=(pattern,)))
    assert handle.report.rows[1].change == (
        f"own backward for 1.layer; {LEFT}1.token; exact, as asked: 1.positions"
    )
    alone = bp.attach(Tokens((3, 4)), bp.FeedbackAlignment(exact=("positions",)))
    assert "exact, as asked: positions" in str(alone.report)
    one = nn.Sequential(nn.Linear(4, 4), Mixing())
    report = str(bp.attach(one, bp.FeedbackAlignment(exact=("1.weight",))).report)
    assert "exact, as asked: 1.weight" in report


def test_a_part_of_a_layer_cannot_be_named():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    with pytest.raises(bp.AttachError, match=r"'1.weight', a part of the layer '1': name the la"):
        bp.attach(model, bp.FeedbackAlignment(exact=("1.weight",)))
    with pytest.raises(bp.AttachError, match=r"exact='2.weight' matches no module or parameter"):
        bp.attach(model, bp.FeedbackAlignment(exact=("2.weight",)))


@pytest.mark.parametrize("padding", [None, 0])
def test_embeddings_stay_exact(padding):
    model = nn.Sequential(nn.Embedding(5, 4, padding_idx=padding), nn.Linear(4, 4), nn.Linear(4, 2))
    model.double()
    words = torch.tensor([[0, 1, 2], [3, 0, 4]])
    plain = outcome(model, lambda m: m(words), [])
    handle = bp.attach(model, Transport(factor=2.0))
    assert LEFT + "0" in handle.report.rows[0].change
    ours = outcome(model, lambda m: m(words), [])
    torch.testing.assert_close(ours[1][0], 4 * plain[1][0])
    assert ours[1][0][0].any() == (padding is None)
