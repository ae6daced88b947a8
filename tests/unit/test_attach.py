"""Attaching: blocks, the report, targets, and every problem that is refused."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations

import beyondprop as bp
from beyondprop import chain, teach
from tests.modules import LateParameter, Residual, TwoHeads, as_tuple, convnet

X, Y = torch.randn(6, 8), torch.arange(6) % 4


def mlp():
    return nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))


def block_names(handle):
    return [(block.name, [name for name, _ in block.modules]) for block in handle.blocks]


def test_default_blocks_of_a_chain():
    handle = bp.attach(convnet(), bp.DirectFeedbackAlignment())
    assert block_names(handle) == [
        ("0", ["0", "1", "2"]),
        ("3", ["3", "4", "5", "6"]),
        ("7", ["7"]),
    ]


def test_what_stands_before_the_first_parameters_joins_the_first_block():
    handle = bp.attach(nn.Sequential(nn.Flatten(), nn.Linear(8, 4)), bp.Backprop())
    assert block_names(handle) == [("1", ["0", "1"])]


def test_patterns_take_the_outermost_and_keep_their_order():
    model = nn.Module()
    model.head, model.body = nn.Linear(8, 4), nn.Sequential(mlp(), nn.ReLU())
    model.forward = lambda x: model.head(model.body(x)[:, :4])
    handle = bp.attach(model, bp.Backprop(), ["body.*", "head"])
    assert [block.name for block in handle.blocks] == ["body.0", "head"]


def test_rules_by_block_first_match_first():
    rules = {
        "stem": bp.Backprop(),
        "layers.1": bp.Frozen(),
        "layers.*": bp.DirectFeedbackAlignment(),
        "*": bp.Backprop(),
    }
    model = Residual()
    handle = bp.attach(model, rules)
    kinds = {block.name: type(block.rule).__name__ for block in handle.blocks}
    assert kinds == {
        "stem": "Backprop",
        "layers.1": "Frozen",
        "layers.0": "DirectFeedbackAlignment",
        "layers.2": "DirectFeedbackAlignment",
        "head": "Backprop",
    }
    F.cross_entropy(model(X), Y).backward()
    assert model.layers[1].weight.grad is None
    assert model.layers[0].weight.grad is not None


def test_a_backprop_block_learns_by_the_signal_of_the_block_behind_it():
    """{stem: Backprop, layer: DFA} must teach the stem through the layer's signal, exactly."""
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 4))
    rules = {"0": bp.Backprop(), "1": bp.DirectFeedbackAlignment(), "2": bp.Backprop()}
    handle = bp.attach(model, rules)
    F.cross_entropy(model(X), Y).backward()
    dfa = handle.blocks[1]
    with torch.no_grad():
        error = (model(X).softmax(1) - F.one_hot(Y, 4)) / len(X)
        projection = dfa.rule.projection
        signal = projection.project(error, 8, projection.stream(dfa.stream))
        expected = (signal @ model[1].weight).t() @ X
    torch.testing.assert_close(model[0].weight.grad, expected)


def test_report_names_blocks_changes_and_what_stays_exact():
    text = str(bp.attach(convnet(), bp.FeedbackAlignment()).report)
    assert "own backward for 0; exact, as no weight carries the error: 1" in text
    text = str(bp.attach(mlp(), bp.DirectFeedbackAlignment()).report)
    assert "Sequential: 3 blocks" in text


def test_targets_are_asked_for_by_name_of_the_rule():
    model = mlp()
    handle = bp.attach(model, bp.DirectRandomTargetProjection())
    with pytest.raises(
        bp.UserError, match=r"DirectRandomTargetProjection needs targets.*with handle"
    ):
        model(X)
    with torch.no_grad():
        model(X)
    with bp.exact_gradients(model):
        model(X)
    with handle.targets(Y):
        loss = F.cross_entropy(model(X), Y)
    loss.backward()  # outside the context: the lesson keeps what it was given


@pytest.mark.parametrize(("small", "deep"), [(0, 99), (teach.SMALL, 99), (teach.SMALL, 1)])
def test_wrong_targets_are_named_by_their_shapes(small, deep, monkeypatch):
    monkeypatch.setattr(teach, "SMALL", small)
    monkeypatch.setattr(chain, "DEEP", deep)
    model = mlp()
    handle = bp.attach(model, bp.DirectRandomTargetProjection())
    with handle.targets(torch.zeros(6, 3)):
        loss = F.cross_entropy(model(X), Y)
    with pytest.raises(
        bp.UserError, match=r"shape \(6, 3\) do not fit an output of shape \(6, 4\)"
    ):
        loss.backward()


def test_drtp_takes_values_shaped_like_the_output():
    model = mlp()
    handle = bp.attach(model, bp.DirectRandomTargetProjection())
    grads = []
    for targets in (Y, F.one_hot(Y, 4).float()):
        model.zero_grad()
        with handle.targets(targets):
            F.cross_entropy(model(X), Y).backward()
        grads.append(model[0].weight.grad)
    torch.testing.assert_close(grads[0], grads[1])


def test_tokens_are_taught_token_by_token():
    model = nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 4))
    handle = bp.attach(model, bp.DirectFeedbackAlignment())
    x, y = torch.randn(3, 5, 8), torch.randint(0, 4, (3, 5))
    F.cross_entropy(model(x).flatten(0, 1), y.flatten()).backward()
    sequences = model[0].weight.grad.clone()
    model.zero_grad()
    F.cross_entropy(model(x.flatten(0, 1)), y.flatten()).backward()
    torch.testing.assert_close(sequences, model[0].weight.grad)
    assert handle.blocks[0].rule.projection.matrix(4, 6, handle.blocks[0].stream, x).shape == (4, 6)


PROBLEMS = [
    (lambda: Residual(), bp.DirectFeedbackAlignment(), None, "not a chain of modules.*blocks="),
    (lambda: Residual(), bp.Frozen(), ["stem", "head"], "'layers.0.weight' lies in no block"),
    (lambda: LateParameter(), bp.Frozen(), ["first", "head"], "'offset' lies in no block"),
    (lambda: mlp(), bp.Frozen(), ["nothing.*"], "'nothing.*' matches no module"),
    (lambda: mlp(), bp.Frozen(), "0", r"blocks= takes a list.*\['0'\]"),
    (lambda: nn.ReLU(), bp.Backprop(), None, "no parameters to learn"),
    (lambda: nn.Sequential(nn.LSTM(8, 8)), bp.FeedbackAlignment(), None, "cannot cover '0' .LSTM"),
    (
        lambda: nn.Sequential(nn.MultiheadAttention(8, 2)),
        bp.FeedbackAlignment(),
        None,
        "cannot cover '0' .MultiheadAttention",
    ),
    (
        lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(8, 8))),
        bp.FeedbackAlignment(),
        None,
        "cannot cover '0'",
    ),
    (lambda: nn.Sequential(nn.LazyLinear(8)), bp.Backprop(), None, "run the model once"),
    (
        lambda: torch.compile(mlp(), backend="eager"),
        bp.Backprop(),
        None,
        "already compiled: attach first",
    ),
    (lambda: nn.DataParallel(mlp()), bp.Backprop(), None, "attach to model.module"),
    (
        lambda: nn.Sequential(
            nn.Linear(8, 8), nn.Sequential(nn.ReLU(inplace=True), nn.Linear(8, 4))
        ),
        bp.DirectFeedbackAlignment(),
        None,
        "'1.0' works in place",
    ),
    (
        lambda: LateParameter(),
        {"*": bp.DirectFeedbackAlignment()},
        None,
        "'offset', but DirectFeedbackAlignment teaches modules",
    ),
    (lambda: mlp(), {"*": bp.Backprop()}, ["0"], "not both"),
]


@pytest.mark.parametrize(("build", "rule", "blocks", "message"), PROBLEMS)
def test_problems_are_refused_in_plain_words(build, rule, blocks, message):
    with pytest.raises(bp.UserError, match=message):
        bp.attach(build(), rule, blocks)


def test_tied_weights_across_blocks():
    model = mlp()
    model[2].weight = model[0].weight
    with pytest.raises(bp.AttachError, match=r"'2.weight' and '0.weight' are one tied parameter"):
        bp.attach(model, bp.DirectFeedbackAlignment())
    bp.attach(model, bp.FeedbackAlignment())


def test_all_problems_come_at_once_and_leave_the_model_alone():
    model = Residual()
    model.extra = nn.Parameter(torch.zeros(1))
    with pytest.raises(bp.AttachError) as caught:
        bp.attach(model, bp.Frozen(), ["stem", "absent", "head"])
    text = str(caught.value)
    assert "'absent' matches no module" in text
    assert "'layers.0.weight'" in text
    assert "'extra'" in text
    assert bp.attachment_of(model) is None
    bp.attach(model, bp.Backprop())


def test_a_bad_pattern_does_not_hide_the_other_problems():
    with pytest.raises(bp.AttachError) as caught:
        bp.attach(Residual(), bp.DirectFeedbackAlignment(), ["absent", "head"])
    assert "'stem.weight' lies in no block" in str(caught.value)


def test_the_first_layer_draws_no_feedback_matrix():
    rule = bp.FeedbackAlignment()
    model = mlp()
    bp.attach(model, rule)
    F.cross_entropy(model(X), Y).backward()
    assert len(rule.projection._drawn) == 2


def test_attaching_twice():
    model = mlp()
    handle = bp.attach(model, bp.FeedbackAlignment())
    with pytest.raises(bp.AttachError, match="call remove"):
        bp.attach(model, bp.Backprop())
    with pytest.raises(bp.AttachError, match="call remove"):
        bp.attach(nn.Sequential(model), bp.Backprop())
    handle.remove()
    bp.attach(model, bp.Backprop())


def test_wrong_order_of_blocks():
    model = Residual()
    bp.attach(model, bp.DirectFeedbackAlignment(), ["head", "stem", "layers.*"])
    with pytest.raises(bp.UserError, match=r"last block, 'layers.2'.*in the order they run"):
        model(X)


def test_a_model_that_returns_its_loss():
    class Loss(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()

        def forward(self, x):
            return F.cross_entropy(self.net(x), Y)

    model = Loss()
    bp.attach(model, bp.DirectFeedbackAlignment(), ["net.*"])
    with pytest.raises(bp.UserError, match="returns a scalar"):
        model(X)


def test_samples_that_do_not_match():
    class Pool(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 4)

        def forward(self, x):
            return self.b(self.a(x).mean(0, keepdim=True))

    model = Pool()
    bp.attach(model, bp.DirectFeedbackAlignment(), ["a", "b"])
    output = model(X)
    with pytest.raises(
        bp.UserError, match=r"\(1, 4\) cannot teach a block whose output has shape \(6"
    ):
        output.sum().backward()


@pytest.mark.parametrize("deep", [1, 99])
def test_user_hooks_on_a_chain_are_called(deep, monkeypatch):
    monkeypatch.setattr(chain, "DEEP", deep)
    model = mlp()
    bp.attach(model, bp.DirectFeedbackAlignment())
    seen = []
    handle = model[1].register_forward_hook(lambda *_: seen.append(1))
    model(X)
    assert seen
    handle.remove()
    model(X)
    assert len(seen) == 1


def test_slices_of_an_attached_chain_are_plain():
    model = mlp()
    bp.attach(model, bp.DirectFeedbackAlignment())
    assert model[:2](X).requires_grad
    assert len(model[:2]) == 2


def test_exact_gradients_nests_and_reaches_into_a_larger_model():
    model = mlp()
    handle = bp.attach(model, bp.DirectFeedbackAlignment())
    outer = nn.ModuleDict({"inner": model})
    with bp.exact_gradients(outer):
        with bp.exact_gradients(model):
            assert handle.exact
        assert handle.exact
    assert not handle.exact


def test_auxiliary_hidden_output_still_carries_an_error():
    """A hidden state that is returned beside the logits must not silently lose its loss."""

    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.head = nn.Linear(8, 8), nn.Linear(8, 4)

        def forward(self, x):
            hidden = self.first(x)
            return self.head(hidden), hidden

    model = Both()
    bp.attach(model, bp.DirectFeedbackAlignment(), ["first", "head"])
    _, hidden = model(X)
    hidden.square().mean().backward()
    assert model.first.weight.grad.abs().sum() > 0


def test_each_output_sends_its_error_by_a_matrix_of_its_own():
    """Swapping two heads' errors must change what the trunk is taught."""
    gradients = []
    for first, second in ((0, 1), (1, 0)):
        torch.manual_seed(1)
        model = TwoHeads(as_tuple)
        bp.attach(model, bp.DirectFeedbackAlignment(), ["trunk.*", "heads"])
        outputs = model(X)
        (outputs[first].sum() - outputs[second].sum()).backward()
        gradients.append(model.trunk[0].bias.grad)
    assert gradients[0].abs().sum() > 0
    assert not torch.allclose(gradients[0], gradients[1])


def test_two_losses_on_two_outputs():
    model = TwoHeads(as_tuple)
    bp.attach(model, bp.DirectFeedbackAlignment(), ["trunk.*", "heads"])
    a, b = model(X)
    F.cross_entropy(a, Y).backward(retain_graph=True)
    first = model.trunk[0].weight.grad.clone()
    F.cross_entropy(b, Y).backward()
    both = model.trunk[0].weight.grad.clone()
    model.zero_grad()
    a, b = model(X)
    (F.cross_entropy(a, Y) + F.cross_entropy(b, Y)).backward()
    torch.testing.assert_close(model.trunk[0].weight.grad, both)
    assert not torch.equal(first, both)


def test_autocast_runs_for_every_rule():
    for name in bp.rules.RULES:
        for model, x in ((mlp(), X), (convnet(), torch.randn(6, 2, 8, 8))):
            handle = bp.attach(model, bp.rules.make(name))
            with torch.autocast("cpu", dtype=torch.bfloat16), handle.targets(Y):
                output = model(x)
            F.cross_entropy(output.float(), Y).backward()
            assert all(p.grad is None or p.grad.dtype is torch.float32 for p in model.parameters())


def test_unknown_rule():
    with pytest.raises(bp.UserError, match=r"unknown rule 'dfaa'; there are backprop.*mean 'dfa'"):
        bp.rules.make("dfaa")
