"""Attaching: blocks, the report, targets, and every problem that is refused."""

import copy
import pickle
import threading
from types import MethodType, SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from tests import internals
from tests.modules import LateParameter, Residual, TwoHeads, as_tuple, convnet
from torch import nn
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

import beyondprop as bp

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
    loss.backward()  # outside the context: the pass keeps what it was given


@pytest.mark.parametrize(
    ("small", "fused"),
    [(0, 0), (internals.NODE_ABOVE, 0), (internals.NODE_ABOVE, internals.FUSED_UP_TO)],
)
def test_wrong_targets_are_named_by_their_shapes(small, fused, monkeypatch):
    monkeypatch.setattr(internals.SETTINGS, "node_above", small)
    monkeypatch.setattr(internals.SETTINGS, "fused_up_to", fused)
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
    (
        lambda: Residual(),
        bp.Frozen(),
        ["stem", "head"],
        "holds layers.0, layers.1, layers.2",
    ),
    (lambda: LateParameter(), bp.Frozen(), ["first", "head"], "no block holds offset"),
    (lambda: mlp(), bp.Frozen(), ["nothing.*"], "'nothing.*' matches no module"),
    (lambda: mlp(), bp.Frozen(), "0", r"blocks= takes a list.*\['0'\]"),
    (lambda: nn.ReLU(), bp.Backprop(), None, "no parameters to learn"),
    (
        lambda: nn.Sequential(nn.Bilinear(8, 8, 2)),
        bp.FeedbackAlignment(),
        None,
        "cannot cover '0' .Bilinear",
    ),
    (
        lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(8, 8))),
        bp.KolenPollack(),
        None,
        "the weight of '0' is computed from other parameters",
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


class Positions(nn.Module):
    """Patches, to which a parameter of the model is added, a layer, and a norm with a head."""

    def __init__(self):
        super().__init__()
        self.pos = nn.Parameter(torch.zeros(6))
        self.patch = nn.Linear(8, 6)
        self.layers = nn.ModuleList([nn.Linear(6, 6)])
        self.norm, self.head = nn.LayerNorm(6), nn.Linear(6, 4)

    def forward(self, x):
        return self.head(self.norm(self.layers[0](self.patch(x) + self.pos).tanh()))


PARTS = ["patch", "layers.*", ("norm", "head")]


@pytest.mark.parametrize("blocks", [["pos", *PARTS], [*PARTS, "pos"]])
def test_a_parameter_among_the_blocks_keeps_backprop(blocks):
    model = Positions()
    handle = bp.attach(model, bp.DirectFeedbackAlignment(), blocks)
    assert [block.name for block in handle.blocks] == ["pos", "patch", "layers.0", "norm"]
    assert handle.blocks[0].rule == bp.Backprop()
    F.cross_entropy(model(X), Y).backward()
    assert model.pos.grad.any()


def test_what_no_block_holds_is_told_with_rules_that_work():
    model = Positions()
    with pytest.raises(bp.AttachError) as caught:
        bp.attach(model, bp.DirectFeedbackAlignment(), PARTS)
    printed = str(caught.value).partition("for example ")[2]
    known = (bp.Backprop, bp.DirectFeedbackAlignment)
    rules = eval(printed, {each.__name__: each for each in known})
    assert list(rules) == ["pos", *PARTS]
    bp.attach(model, rules)


def test_a_parameter_in_a_tuple_is_one_problem():
    with pytest.raises(bp.AttachError, match=r"names the parameter 'pos'.*outside") as caught:
        bp.attach(Positions(), "dfa", [("pos", "patch"), *PARTS[1:]])
    assert "no block holds" not in str(caught.value)


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
    assert "layers.0, layers.1" in text
    assert "extra" in text
    assert bp.attachment_of(model) is None
    bp.attach(model, bp.Backprop())


def test_a_bad_pattern_does_not_hide_the_other_problems():
    with pytest.raises(bp.AttachError) as caught:
        bp.attach(Residual(), bp.DirectFeedbackAlignment(), ["absent", "head"])
    assert "no block holds stem, layers.0" in str(caught.value)


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
    handle = bp.attach(model, bp.DirectFeedbackAlignment(), ["head", "stem", "layers.*"])
    with pytest.raises(
        bp.UserError, match=r"output of a block whose graph its rule ends.*order they run"
    ):
        model(X)
    assert internals.open_pass(handle) is None


def test_rules_by_pattern_follow_the_models_order():
    rules = {"head": bp.Backprop(), "stem": bp.Frozen(), "layers.*": bp.DirectFeedbackAlignment()}
    handle = bp.attach(Residual(), rules)
    names = [block.name for block in handle.blocks]
    assert names == ["stem", "layers.0", "layers.1", "layers.2", "head"]
    assert handle.blocks[3].rule.name == "dfa"


def test_the_last_block_must_make_an_output():
    class Unused(Residual):
        def forward(self, x):
            return F.relu(super().forward(x).detach())

    model = Unused()
    bp.attach(model, bp.DirectFeedbackAlignment(), ["stem", "layers.*", "head"])
    with pytest.raises(bp.UserError, match="no output of the model comes out of the last block"):
        model(X)


@pytest.mark.parametrize("rule", [bp.DirectFeedbackAlignment(), bp.Frozen()])
def test_a_head_that_is_named_as_a_hidden_block_is_refused(rule):
    model = TwoHeads(as_tuple)
    bp.attach(model, rule, ["trunk.*", "heads.*"])
    loss = sum(F.cross_entropy(out, Y) for out in model(X))
    with pytest.raises(bp.UserError, match=r"give the block Backprop\(\)"):
        loss.backward()
    bp.attachment_of(model).remove()
    bp.attach(model, {"trunk.*": rule, "heads.*": bp.Backprop()})
    sum(F.cross_entropy(out, Y) for out in model(X)).backward()
    assert all(head.weight.grad is not None for head in model.heads.values())


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


@pytest.mark.parametrize("fused", [0, internals.FUSED_UP_TO])
def test_user_hooks_on_a_chain_are_called(fused, monkeypatch):
    monkeypatch.setattr(internals.SETTINGS, "fused_up_to", fused)
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


@pytest.mark.parametrize("rule", ["dfa", "fa", "pepita"])
def test_a_copy_made_inside_exact_gradients_is_exact_as_long_as_the_context(rule):
    model = mlp()
    bp.attach(model, rule)

    def gradients(of):
        return torch.autograd.grad(F.cross_entropy(of(X), Y), list(of.parameters()))

    with bp.exact_gradients(model):
        exact = gradients(model)
        with bp.exact_gradients(model):
            inner = copy.deepcopy(model)
        outer = copy.deepcopy(model)
        with bp.exact_gradients(model):
            pass
        copies = [inner, outer, copy.deepcopy(outer)]
        for each in copies:
            assert bp.attachment_of(each).exact
            assert all(map(torch.equal, gradients(each), exact))
        pickled = pickle.loads(pickle.dumps(model))
    for each in (model, *copies, pickled):
        assert not bp.attachment_of(each).exact
        assert not all(map(torch.equal, gradients(each), exact))
        with bp.exact_gradients(each):
            assert all(map(torch.equal, gradients(each), exact))
    assert not bp.attachment_of(model).exact


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_script_module_is_refused():
    with pytest.raises(bp.AttachError, match=r"ScriptModule.* attach to the original nn\.Module"):
        bp.attach(torch.jit.script(mlp()), "dfa")


def test_only_a_model_can_have_rules_attached():
    with pytest.raises(bp.UserError, match=r"the model must be a torch\.nn\.Module, not None"):
        bp.attachment_of(None)


class Auxiliary(nn.Module):
    """A model with a second output, computed from a hidden state."""

    def __init__(self, second):
        super().__init__()
        self.first, self.head, self.second = nn.Linear(8, 8), nn.Linear(8, 4), second

    def forward(self, x):
        hidden = self.first(x)
        return self.head(hidden), self.second(hidden)


def test_a_hidden_state_as_output_is_handed_on_and_takes_no_gradient():
    model = Auxiliary(lambda hidden: hidden)
    bp.attach(model, bp.DirectFeedbackAlignment(), ["first", "head"])
    output, hidden = model(X)
    output.sum().backward()
    found = model.first.weight.grad.clone()
    output, hidden = model(X)
    with pytest.raises(bp.UserError, match="a loss uses the output of a block whose graph"):
        (output.sum() + hidden.sum()).backward()
    model.zero_grad()
    output, hidden = model(X)
    (output.sum() + hidden.detach().sum()).backward()
    torch.testing.assert_close(model.first.weight.grad, found)


def test_a_loss_on_what_is_computed_from_a_hidden_state_is_not_lost():
    model = Auxiliary(lambda hidden: hidden.square().mean(1, keepdim=True))
    bp.attach(model, bp.DirectFeedbackAlignment(), ["first", "head"])
    model(X)[1].sum().backward()
    assert model.first.weight.grad.abs().sum() > 0


class Namespace(nn.Module):
    """A block that returns its tensor in a container that nobody can look into."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x):
        return SimpleNamespace(value=torch.tanh(self.layer(x)))


class Skip(nn.Module):
    """A skip connection that is kept on the module, past every hook."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 8)
        self.kept = None

    def forward(self, x):
        self.kept = torch.tanh(self.layer(x))
        return self.kept * 2


class Around(nn.Module):
    def __init__(self, first, take):
        super().__init__()
        self.first, self.take = first, take
        self.second, self.head = nn.Linear(8, 8), nn.Linear(8, 4)

    def forward(self, x):
        out = self.first(x)
        return self.head(torch.tanh(self.second(self.take(self.first, out))))


@pytest.mark.parametrize(
    ("first", "take"),
    [(Namespace, lambda _, out: out.value), (Skip, lambda first, _: first.kept)],
    ids=["container", "kept"],
)
def test_a_gradient_past_a_cut_is_found(first, take):
    model = Around(first(), take)
    bp.attach(model, bp.DirectFeedbackAlignment(), ["first", "second", "head"])
    with pytest.raises(
        bp.UserError, match="a gradient bypasses the end of the graph of block 'first'"
    ):
        model(X)


class Listed(nn.Module):
    """A model that calls the layers of its list one by one, and those of its pair if told so."""

    def __init__(self, whole):
        super().__init__()
        self.whole = whole
        self.stem = nn.Linear(8, 8)
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(2))
        self.pair = nn.Sequential(nn.Linear(8, 8), nn.Tanh())
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        x = torch.tanh(self.stem(x))
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return self.head(self.pair(x) if self.whole else torch.sin(self.pair[0](x)))


@pytest.mark.parametrize(
    "rule",
    [bp.DirectFeedbackAlignment(), bp.LocalLoss()],
    ids=lambda rule: rule.name,
)
@pytest.mark.parametrize(
    ("whole", "layers", "said"),
    [
        (
            True,
            "layers",
            "block 'layers' was never called: name its children instead: 'layers.*'",
        ),
        (
            False,
            "layers.*",
            "block 'pair.0' ends in 'pair.1', which was never called: name modules that the "
            "model's forward pass calls",
        ),
    ],
)
def test_a_block_that_is_never_called_is_told_so(rule, whole, layers, said):
    model = Listed(whole)
    handle = bp.attach(model, rule, ["stem", layers, "pair.0", "head"])
    with pytest.raises(bp.UserError) as problem, handle.targets(torch.zeros(len(X)).long()):
        model(X)
    assert str(problem.value) == said


def test_a_frozen_block_that_is_never_called_is_told_so():
    model = Listed(whole=False)
    bp.attach(model, bp.Frozen(), ["stem", "layers.*", "pair.0", "head"])
    with pytest.raises(bp.UserError, match=r"ends in 'pair\.1', which was never called"):
        model(X)


def test_reentrant_checkpointing_is_refused():
    class Checkpointed(Residual):
        reentrant = True

        def forward(self, x):
            x = self.stem(x)
            for layer in self.layers:
                x = checkpoint(layer, x, use_reentrant=self.reentrant)
            return self.head(x)

    model = Checkpointed()
    rules = {"stem": bp.Backprop(), "layers.*": bp.DirectFeedbackAlignment(), "head": bp.Backprop()}
    bp.attach(model, rules)
    with pytest.raises(bp.UserError, match="use_reentrant=False"):
        model(X)
    model.reentrant = False
    F.cross_entropy(model(X), Y).backward()
    found = [p.grad.clone() for p in model.parameters()]
    bp.attachment_of(model).remove()
    plain = Residual()
    plain.load_state_dict(model.state_dict())
    plain.forward = MethodType(
        lambda s, x: s.head(s.layers[2](s.layers[1](s.layers[0](s.stem(x))))), plain
    )
    bp.attach(plain, rules)
    F.cross_entropy(plain(X), Y).backward()
    torch.testing.assert_close(found, [p.grad for p in plain.parameters()])


@pytest.mark.parametrize("fused", [0, internals.FUSED_UP_TO])
def test_a_chain_that_was_changed_says_so(fused, monkeypatch):
    monkeypatch.setattr(internals.SETTINGS, "fused_up_to", fused)
    for change in (
        lambda m: m.append(nn.Softmax(1)),
        lambda m: m.__setitem__(4, nn.Linear(8, 3)),
        lambda m: m.__delitem__(1),
    ):
        model = mlp()
        bp.attach(model, bp.DirectFeedbackAlignment())
        change(model)
        with pytest.raises(bp.UserError, match="since the rules were attached"):
            model(X)


def test_a_hooked_block_that_was_replaced_says_so():
    model = Residual()
    bp.attach(model, bp.DirectFeedbackAlignment(), ["stem", "layers.*", "head"])
    model.stem = nn.Linear(8, 8)
    with pytest.raises(bp.UserError, match="'stem' was replaced"):
        model(X)


def test_a_block_run_by_itself_is_refused():
    model = Residual()
    bp.attach(model, bp.DirectFeedbackAlignment(), ["stem", "layers.*", "head"])
    with pytest.raises(bp.UserError, match="run the complete model"):
        model.stem(X)
    with torch.no_grad():
        model.stem(X)
    with bp.exact_gradients(model):
        model.stem(X)


def test_a_forward_inside_a_forward_leaves_the_outer_pass_open():
    class Consistent(Residual):
        inner = False

        def forward(self, x):
            x = self.stem(x)
            if self.inner:
                self.inner = False
                with torch.no_grad():
                    self(X)
            for layer in self.layers:
                x = x + torch.tanh(layer(x))
            return self.head(x)

    gradients = []
    for inner in (False, True):
        torch.manual_seed(0)
        model = Consistent()
        model.inner = inner
        bp.attach(model, bp.DirectFeedbackAlignment(), ["stem", "layers.*", "head"])
        F.cross_entropy(model(X), Y).backward()
        gradients.append([p.grad for p in model.parameters()])
    torch.testing.assert_close(*gradients, rtol=0, atol=0)


@pytest.mark.parametrize("build", [mlp, Residual])
def test_a_forward_that_fails_leaves_nothing_open(build):
    model = build()
    names = None if build is mlp else ["stem", "layers.*", "head"]
    handle = bp.attach(model, bp.DirectFeedbackAlignment(), names)
    with pytest.raises(RuntimeError, match="shape"):
        model(torch.randn(6, 3))
    assert internals.open_pass(handle) is None
    copy.deepcopy(model)


def test_two_threads_are_taught_apart():
    model = Residual()
    bp.attach(model, bp.DirectFeedbackAlignment(), ["stem", "layers.*", "head"])
    F.cross_entropy(model(X), Y).backward()
    expected = [p.grad.clone() for p in model.parameters()]
    meet, found = threading.Barrier(2), []
    model.layers[0].register_forward_pre_hook(lambda *_: (meet.wait(10), None)[1])

    def work():
        loss = F.cross_entropy(model(X), Y)
        found.append(torch.autograd.grad(loss, list(model.parameters())))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    for gradients in found:
        torch.testing.assert_close(list(gradients), expected)


def test_copies_made_inside_a_context_start_outside_of_it():
    model = mlp()
    handle = bp.attach(model, bp.DirectRandomTargetProjection())
    with handle.targets(Y), bp.exact_gradients(model):
        twin = bp.attachment_of(copy.deepcopy(model))
    assert not twin.exact
    with pytest.raises(bp.UserError, match="needs targets"):
        twin.model(X)


def test_blocks_named_apart_do_not_overlap():
    def build():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 4))

    for rules in (
        {"1": bp.Backprop(), "0": bp.Frozen(), "3": bp.Backprop()},
        {"0": bp.Frozen(), "1": bp.Backprop(), "3": bp.Backprop()},
    ):
        model = build()
        handle = bp.attach(model, rules)
        assert block_names(handle) == [("0", ["0"]), ("1", ["1", "2"]), ("3", ["3"])]
        F.cross_entropy(model(X), Y).backward()
        assert model[0].weight.grad is None
        assert model[1].weight.grad is not None


def test_an_activation_shared_within_and_between_blocks_is_cut_at_its_last_turn():
    def build(shared):
        torch.manual_seed(0)
        acts = [nn.Tanh()] * 2 if shared else [nn.Tanh(), nn.Tanh()]
        features = nn.Sequential(
            nn.Linear(8, 8), acts[0], nn.Linear(8, 8), acts[1], nn.LayerNorm(8)
        )
        return nn.ModuleDict({"features": features, "head": nn.Linear(8, 4)})

    gradients = []
    for shared in (False, True):
        model = build(shared)
        model.forward = lambda x, m=model: m["head"](m["features"](x))
        bp.attach(model, bp.DirectFeedbackAlignment(bp.Dense()), ["features.*", "head"])
        F.cross_entropy(model(X), Y).backward()
        gradients.append([p.grad for p in model.parameters()])
    torch.testing.assert_close(*gradients)


def test_a_forward_of_the_instances_own_is_no_chain():
    model = mlp()
    model.forward = MethodType(lambda self, x: self[4](self[0](x)), model)
    with pytest.raises(bp.AttachError, match="not a chain"):
        bp.attach(model, bp.DirectFeedbackAlignment())
    layer = mlp()
    layer[0].forward = MethodType(nn.Linear.forward, layer[0])
    with pytest.raises(bp.AttachError, match="'0' has its own forward method"):
        bp.attach(layer, bp.FeedbackAlignment())


def test_what_feedback_alignment_leaves_alone_is_named():
    handle = bp.attach(mlp(), bp.FeedbackAlignment(), ["0"])
    assert "left with their plain gradient: 2.weight, 2.bias, 4.weight" in str(handle.report)
    report = str(bp.attach(LateParameter(), bp.FeedbackAlignment()).report)
    assert "exact, as no weight carries the error: offset" in report


def test_a_block_that_nothing_would_teach():
    rules = {"0": bp.Backprop(), "2": bp.Frozen(), "4": bp.Backprop()}
    with pytest.raises(bp.AttachError, match="'0' would never learn"):
        bp.attach(mlp(), rules)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (bp.DirectFeedbackAlignment, "not DirectFeedbackAlignment: call the class"),
        ("DFA", "unknown rule 'DFA'.*did you mean 'dfa'"),
        (3, "or its short name 'dfa', not 3"),
        ({"*": bp.Frozen}, "not Frozen"),
    ],
)
def test_what_is_no_rule(rule, message):
    with pytest.raises(bp.UserError, match=message):
        bp.attach(mlp(), rule)


def test_no_blocks_and_no_modules():
    with pytest.raises(bp.UserError, match="blocks= is empty"):
        bp.attach(mlp(), bp.Frozen(), [])
    with pytest.raises(bp.UserError, match=r"put it in an nn\.Sequential"):
        bp.attach(nn.Linear(8, 4), bp.Frozen())


def test_drtp_ignores_negative_targets_and_names_wrong_classes():
    model = mlp()
    handle = bp.attach(model, bp.DirectRandomTargetProjection())
    kept = Y.clone()
    kept[3:] = -100
    gradients = []
    for x, y in ((X, kept), (X[:3], Y[:3])):  # as the mean of the loss leaves them out
        model.zero_grad()
        with handle.targets(y.to(torch.int32)):
            (F.cross_entropy(model(x), y) * 1.0).backward()
        gradients.append(model[0].weight.grad)
    torch.testing.assert_close(*gradients)
    model.zero_grad()
    with handle.targets(Y + 3):
        loss = model(X).sum()
    with pytest.raises(bp.UserError, match="class 6, but the output has 4"):
        loss.backward()


def test_the_report_counts_trainable_parameters():
    model = mlp()
    model[2].bias.requires_grad_(False)
    rows = bp.attach(model, bp.DirectFeedbackAlignment()).report.rows
    assert [row.parameters for row in rows] == [72, 64, 36]


@pytest.mark.parametrize("shared", [True, False])
def test_small_blocks_have_room_for_so_much_only(shared, monkeypatch):
    monkeypatch.setattr(internals.SETTINGS, "fused_up_to", 0)
    monkeypatch.setattr(internals.SETTINGS, "nodes_after", 60)
    model = mlp()
    handle = bp.attach(model, bp.DirectFeedbackAlignment(bp.Dense(shared=shared)))
    ends = internals.ends_of(handle, lambda: model(X))
    assert [end is not None for end in ends] == [True, shared]  # 48 numbers each, or all the same


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
    for name in (n for n in bp.rules.RULES if n != "ff"):  # it takes nets of its own kind
        for model, x in ((mlp(), X), (convnet(), torch.randn(6, 2, 8, 8))):
            norms = ("pepita", "dualprop", "pc", "epc", "softhebb")
            if name in norms and x.dim() == 4:  # nor do these take norms
                continue
            handle = bp.attach(model, bp.rules.make(name))
            with torch.autocast("cpu", dtype=torch.bfloat16), handle.targets(Y):
                output = model(x)
            F.cross_entropy(output.float(), Y).backward()
            assert all(p.grad is None or p.grad.dtype is torch.float32 for p in model.parameters())
            taught = [p for block in handle.blocks for _, p in block.parameters()]
            assert any(p.grad is not None for p in taught[: -2 if name != "frozen" else None])


def test_unknown_rule():
    with pytest.raises(
        bp.UserError, match=r"unknown rule 'dfaa'; did you mean 'dfa'\? There are backprop"
    ):
        bp.rules.make("dfaa")


@pytest.mark.parametrize("form", [torch.Tensor.numpy, torch.Tensor.tolist, lambda y: y])
def test_targets_may_be_an_array_or_a_list(form):
    x, y = torch.randn(6, 4), torch.randint(3, (6,))
    found = []
    for given in (y, form(y)):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
        handle = bp.attach(model, bp.DirectRandomTargetProjection())
        with handle.targets(given):
            loss = F.cross_entropy(model(x), y)
        loss.backward()
        found.append(model[0].weight.grad)
    assert torch.equal(*found)


@pytest.mark.parametrize("wrong", [["a", "b"], [[1], [1, 2]], object()])
def test_targets_that_are_no_numbers_are_refused(wrong):
    handle = bp.attach(
        nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), bp.DirectRandomTargetProjection()
    )
    with pytest.raises(bp.UserError, match="targets must be a tensor, an array or a list"):
        handle.targets(wrong)


class Behind(nn.Module):
    """A model that is no chain."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x):
        """(batch, 4) -> (batch, 3)."""
        return self.last(self.first(x))


def test_exact_gradients_of_a_part_count_for_the_whole():
    model = Behind()
    bp.attach(model, bp.DirectFeedbackAlignment(), ["first", "last"])
    with bp.exact_gradients(model.first):
        model.first(torch.randn(2, 4)).sum().backward()
    torch.testing.assert_close(model.first.bias.grad, torch.full((8,), 2.0))


@pytest.mark.parametrize("rule", [bp.DirectFeedbackAlignment(), bp.ForwardGradient()])
def test_a_layer_is_taught_by_one_attachment_alone(rule):
    model, other = Behind(), Behind()
    other.first = model.first
    handle = bp.attach(model, bp.FeedbackAlignment())
    with pytest.raises(bp.AttachError, match="'first' has rules attached already"):
        bp.attach(other, rule, None if rule.traits.whole_model else ["first", "last"])
    handle.remove()
    bp.attach(other, rule, None if rule.traits.whole_model else ["first", "last"])


@pytest.mark.parametrize(
    "register", ["register_full_backward_hook", "register_full_backward_pre_hook"]
)
def test_a_backward_hook_that_would_never_be_called_is_told(register):
    model = Behind()
    bp.attach(model, bp.DirectFeedbackAlignment(), ["first", "last"])
    getattr(model.first, register)(lambda *_: None)
    with pytest.raises(bp.UserError, match="backward hook of yours"):
        model(torch.randn(2, 4))
    with bp.exact_gradients(model):
        model(torch.randn(2, 4, requires_grad=True)).sum().backward()


class Stem(nn.Module):
    """A stem whose activation works in place, as in ResNets, before two layers."""

    def __init__(self, inplace):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.act1 = nn.ReLU(inplace=inplace)
        self.layer1 = nn.Sequential(nn.Conv2d(4, 4, 3), nn.Tanh())
        self.layer2 = nn.Sequential(nn.ReLU(inplace=inplace), nn.Conv2d(4, 4, 3))
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        stem = self.act1(self.bn1(self.conv1(x)))
        return self.fc(self.layer2(self.layer1(stem)).mean((2, 3)))


@pytest.mark.parametrize(
    ("stem", "layer1"),
    [
        (bp.Backprop(), bp.LocalLoss()),
        (bp.LocalLoss(), bp.LocalLoss()),
        (bp.Frozen(), bp.ErrorBroadcastDecorrelation()),
        (bp.Backprop(), bp.Frozen()),
    ],
)
def test_what_works_in_place_where_nothing_is_lost_is_left_alone(stem, layer1):
    found = []
    for inplace in (False, True):
        torch.manual_seed(0)
        model, y = Stem(inplace), torch.arange(2)
        dfa, exact = bp.DirectFeedbackAlignment(), bp.Backprop()
        rules = {"conv1": stem, "bn1": stem, "layer1": layer1, "layer2": dfa, "fc": exact}
        handle = bp.attach(model, rules)
        with handle.targets(y):
            handle.loss(F.cross_entropy(model(torch.randn(2, 3, 8, 8)), y)).backward()
        found.append([p.grad for p in model.parameters() if p.grad is not None])
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)


class Repeat(nn.Module):
    def __init__(self, times):
        super().__init__()
        self.times = times

    def forward(self, x):
        return (x,) * self.times


class Repeating(nn.Module):
    def __init__(self, times):
        super().__init__()
        self.first = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), Repeat(times))
        self.last, self.repeat = nn.Linear(5, 3), Repeat(times)

    def forward(self, x):
        """(batch, 4) -> (batch, 3), several times."""
        return self.repeat(self.last(self.first(x)[0]))


@pytest.mark.parametrize("rule", ["dfa", "drtp", "ebd", "dgl"])
def test_a_tensor_returned_twice_is_one(rule):
    found = []
    for times in (1, 2):
        torch.manual_seed(0)
        model = Repeating(times)
        handle = bp.attach(model, bp.rules.make(rule), ["first", "last"])
        with handle.targets(torch.arange(6) % 3):
            outputs = model(torch.linspace(-1, 1, 24).view(6, 4))
        handle.loss(F.cross_entropy(outputs[-1], torch.arange(6) % 3)).backward()
        found.append([p.grad for p in model.parameters()])
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)


def test_drtp_takes_one_value_a_row():
    found = []
    y = torch.randn(6)
    for targets in (y, y.unsqueeze(1)):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1))
        handle = bp.attach(model, bp.DirectRandomTargetProjection())
        with handle.targets(targets):
            F.mse_loss(model(torch.ones(6, 4)).squeeze(1), y).backward()
        found.append(model[0].weight.grad)
    assert found[0].equal(found[1])
    assert found[0].any()


def test_models_may_share_an_activation():
    shared = nn.GELU()  # as packages make one for all of their models
    models = [
        nn.Sequential(nn.Linear(4, 4), nn.Sequential(shared, nn.Linear(4, 4)), nn.Linear(4, 2))
        for _ in range(2)
    ]
    handles = [bp.attach(model, bp.DirectFeedbackAlignment()) for model in models]
    for model in models:
        model(torch.ones(3, 4)).sum().backward()
        assert all(p.grad is not None for p in model.parameters())
    handles[0].remove()
    with bp.exact_gradients(models[0]):
        assert not handles[1].exact


def test_a_rule_can_be_given_by_its_short_name():
    handle = bp.attach(mlp(), "dfa")
    assert [block.rule for block in handle.blocks] == [
        *[bp.DirectFeedbackAlignment()] * 2,
        bp.Backprop(),
    ]
    handle = bp.attach(mlp(), {"0": "frozen", "2": bp.FeedbackAlignment(), "*": "backprop"})
    assert [block.rule.name for block in handle.blocks] == ["frozen", "fa", "backprop"]


def test_attaching_again_says_where_the_handle_is():
    model = Behind()
    handle = bp.attach(model, "fa")
    with pytest.raises(bp.AttachError, match=r"its handle, bp\.attachment_of\(model\), first"):
        bp.attach(model, "fa")
    with pytest.raises(bp.AttachError, match="the handle of the model it is also a part of"):
        bp.attach(nn.Sequential(model.first), "fa")
    handle.remove()
    whole = nn.Sequential(mlp(), nn.Linear(4, 2))
    bp.attach(whole[0], "fa")
    with pytest.raises(bp.AttachError, match=r"attachment_of\(model\.get_submodule\('0'\)\)"):
        bp.attach(whole, "fa")
