"""Models whose error is taken at a module within, and whose call holds the targets."""

import copy
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import beyondprop as bp
from beyondprop.engine.arguments import labels_of

VOCABULARY, WIDTH, TOKENS = 11, 8, 6
X = torch.arange(4 * TOKENS).view(4, TOKENS).mul(7) % VOCABULARY


@dataclass
class Result:
    """What language models return."""

    loss: Tensor | None
    logits: Tensor


class Layer(nn.Module):
    """A residual layer that mixes tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.mix = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, tokens, features) -> the same."""
        return x + torch.tanh(self.mix(self.norm(x).cumsum(1)))


class TinyForCausalLM(nn.Module):
    """A decoder that computes its own loss, as those of Hugging Face do."""

    def __init__(self, tied: bool = True) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(3))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)
        if tied:
            self.head.weight = self.embedding.weight

    def forward(
        self, ids: Tensor, labels: Tensor | None = None, num_items_in_batch: Tensor | None = None
    ) -> Result:
        """(batch, tokens) -> (batch, tokens, vocabulary), and the loss."""
        x = self.embedding(ids)
        for layer in self.layers:
            x = layer(x)
        logits = self.head(self.norm(x))
        if labels is None:
            return Result(None, logits)
        target = F.pad(labels[:, 1:], (0, 1), value=-100)
        reduction = "mean" if num_items_in_batch is None else "sum"
        loss = F.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction=reduction)
        return Result(loss if num_items_in_batch is None else loss / num_items_in_batch, logits)


def built(tied: bool = True) -> TinyForCausalLM:
    torch.manual_seed(0)
    return TinyForCausalLM(tied).double()


def attached(rule, output="norm", tied=True, **more):
    model = built(tied)
    rule = bp.rules.make(rule) if isinstance(rule, str) else rule
    return model, bp.attach(
        model, rule, blocks=["layers.*"], output=output, targets="labels", **more
    )


def gradients(model):
    return {name: p.grad for name, p in model.named_parameters()}


def by_hand(model, rule, output):
    """Return what direct feedback alignment teaches, without the library's engine."""
    inputs, outputs = [model.embedding(X)], []
    for layer in model.layers:
        outputs.append(layer(inputs[-1]))
        inputs.append(outputs[-1].detach())
    hidden = model.norm(inputs[-1])
    carries = hidden if output == "norm" else model.head(hidden)
    error_at = carries.detach().requires_grad_()
    logits = model.head(error_at) if output == "norm" else error_at
    target = F.pad(X[:, 1:], (0, 1), value=-100)
    F.cross_entropy(logits.flatten(0, 1), target.flatten()).backward()
    carries.backward(error_at.grad)
    eye = torch.eye(error_at.shape[-1], dtype=torch.float64)
    for layer, made in zip(range(3), outputs, strict=True):
        block = bp.core.Block(f"layers.{layer}", rule, (), model)
        feedback = rule.projection.project(eye, WIDTH, rule.projection.stream(block.stream))
        made.backward(error_at.grad @ feedback)
    return gradients(model)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("output", ["norm", "head"])
def test_direct_feedback_is_what_is_computed_by_hand(output, tied):
    rule = bp.DirectFeedbackAlignment()
    model, _ = attached(rule, output, tied)
    model(X, labels=X).loss.backward()
    torch.testing.assert_close(gradients(model), by_hand(built(tied), rule, output))


@pytest.mark.parametrize("output", ["norm", "head"])
def test_backprop_is_exact_to_the_bit(output):
    model, _ = attached("backprop", output)
    plain = built()
    for each in (model, plain):
        each(X, labels=X).loss.backward()
    torch.testing.assert_close(gradients(model), gradients(plain), rtol=0, atol=0)


@pytest.mark.parametrize("rule", ["dfa", "drtp", "dgl", "predsim", "ebd", "dkp", "fa", "usf"])
@pytest.mark.parametrize("output", ["norm", "head"])
def test_all_parameters_learn_and_what_lies_behind_learns_exactly(rule, output):
    model, handle = attached(rule, output)
    plain = built()
    for each in (model, plain):
        each(X, labels=X).loss.backward()
    found, exact = gradients(model), gradients(plain)
    assert all(g is not None and g.any() for g in found.values())
    torch.testing.assert_close(found["norm.weight"], exact["norm.weight"])
    assert not torch.allclose(found["layers.0.mix.weight"], exact["layers.0.mix.weight"])
    handle.remove()
    model.zero_grad()
    model(X, labels=X).loss.backward()
    torch.testing.assert_close(gradients(model), exact, rtol=0, atol=0)


@pytest.mark.parametrize("rule", ["dfa", "drtp", "dgl", "ebd", "fa"])
@pytest.mark.parametrize("told", ["by the trainer", "by the caller"])
def test_accumulation_is_one_batch(rule, told):
    """Trainers divide the loss, or tell the model how many tokens all batches have together."""
    found = []
    for parts in (1, 4):
        model, _ = attached(rule)
        model.eval()
        for x in X.chunk(parts):
            if told == "by the trainer":
                items = torch.tensor(len(X) * (TOKENS - 1))
                model(x, labels=x, num_items_in_batch=items).loss.backward()
            else:
                (model(x, labels=x).loss / parts).backward()
        found.append(gradients(model))
    torch.testing.assert_close(*found)


def test_labels_are_shifted_as_the_loss_shifts_them():
    seen = {}

    class Head(bp.rules.Objective):
        name = "looks"

        def loss(self, at, _head, _classes):
            seen["targets"] = at.run.targets
            return at.output.square().sum()

    for shift, expected in ((None, 1), (1, 1), (0, 0), (2, 2)):
        model, _ = attached(bp.LocalLoss(Head()), shift=shift)
        model(X, labels=X)
        wanted = F.pad(X[:, expected:], (0, expected), value=-100)
        torch.testing.assert_close(seen["targets"], wanted)


def test_the_report_says_where_what_is_taken():
    said = str(attached("dfa")[1].report)
    assert "the error is taken at the output of norm" in said
    assert "in no block, so taught with the blocks that follow: embedding.weight" in said
    assert "targets are the model's argument labels, 1 token ahead" in said
    untied = str(attached("dfa", tied=False)[1].report)
    assert "after that output, with their exact gradient: head.weight" in untied


def test_targets_may_be_given_by_position():
    model, _ = attached("drtp")
    once, other = copy.deepcopy(model), copy.deepcopy(model)
    once(X, X).loss.backward()
    other(X, labels=X).loss.backward()
    torch.testing.assert_close(gradients(once), gradients(other))


def test_other_targets_may_be_given_around_the_call():
    model, handle = attached("drtp")
    with handle.targets(X):
        model(X).logits.sum().backward()
    with pytest.raises(bp.UserError, match="call the model with labels=, or run"):
        model(X)


def test_losses_that_the_model_returns_tell_their_scale():
    found = []
    for scale in (1.0, 8.0):
        model, _ = attached("dgl")
        (model(X, labels=X).loss * scale).backward()
        found.append({name: g / scale for name, g in gradients(model).items()})
    torch.testing.assert_close(*found)


def test_a_scalar_output_names_candidates():
    model = built()
    exact = dict.fromkeys(("embedding", "norm", "head"), bp.Backprop())
    bp.attach(model, {**exact, "layers.*": bp.DirectFeedbackAlignment()})
    with pytest.raises(bp.UserError, match="output='norm', output='head'"):
        model(X, labels=X)


def test_what_would_stop_learning_is_told():
    model, _ = attached("frozen")
    model(X, labels=X).loss.backward()  # the embedding is the decoder too, which learns
    model = built(tied=False)
    handle = bp.attach(model, bp.Frozen(), ["layers.*"], output="norm", targets="labels")
    assert "nothing before the output learns: embedding.weight" in str(handle.report)
    model(X, labels=X).loss.backward()  # all before the output is frozen, as was asked
    handle.remove()
    rules = {"layers.0": bp.DirectFeedbackAlignment(), "layers.*": bp.Frozen()}
    frozen = {"layers.0": bp.Frozen(), "layers.*": bp.DirectFeedbackAlignment()}
    for mixed, lost in ((rules, False), (frozen, True)):
        handle = bp.attach(model, mixed, output="norm", targets="labels")
        if lost:
            with pytest.raises(bp.UserError, match=r"no block holds embedding\.weight"):
                model(X, labels=X)
        else:
            model(X, labels=X)
        handle.remove()
    rules = {"embedding": bp.Backprop(), "layers.*": bp.Frozen()}
    handle = bp.attach(model, rules, output="norm", targets="labels")
    with pytest.raises(bp.UserError, match=r"'embedding\.weight' would silently stop learning"):
        model(X, labels=X)
    handle.remove()
    bp.attach(model, {**rules, "embedding": bp.Frozen()}, output="norm", targets="labels")
    model(X, labels=X).loss.backward()


def test_frozen_takes_scalars():
    model = built()
    rules = {"embedding": bp.Backprop(), "layers.*": bp.Frozen()}
    bp.attach(model, rules, output="norm", targets="labels")
    model(X, labels=X).loss.backward()
    assert [n for n, g in gradients(model).items() if g is not None] == [
        *("embedding.weight", "norm.weight", "norm.bias")
    ]  # the embedding is the decoder too, which learns


class ItsLoss(nn.Module):
    """A model that returns its loss alone."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x, y=None):
        logits = self.head(torch.tanh(self.body(x)))
        return logits if y is None else F.cross_entropy(logits, y)


@pytest.mark.parametrize("rule", ["frozen", "dgl", "sim", "predsim", "infopro", "lfg"])
def test_rules_that_need_no_error_take_a_loss_as_the_only_output(rule):
    x, y, found = torch.randn(5, 4), torch.arange(5) % 3, []
    for inside in (True, False):
        model = ItsLoss()
        blocks = {"body": bp.rules.make(rule), "head": bp.Backprop()}
        handle = bp.attach(model, blocks)
        torch.manual_seed(1)
        with handle.targets(y):
            loss = model(x, y) if inside else F.cross_entropy(model(x), y)
        loss.backward()
        found.append(gradients(model))
    torch.testing.assert_close(*found)
    assert (found[0]["body.weight"] is None) == (rule == "frozen")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"output": "nrom"}, "output='nrom' names no module; there are: .*norm, head"),
        ({"output": ""}, "output='' names no module"),
        ({"targets": "label"}, "targets='label' is not an argument of TinyForCausalLM"),
        ({"shift": 1}, "set targets="),
        ({"targets": "labels", "shift": -1}, "0 or more, not -1"),
        ({"targets": "labels", "shift": "1"}, "0 or more, not '1'"),
        ({"output": ["norm"]}, "takes the name of one module"),
    ],
)
def test_what_is_not_there_is_named(wrong, said):
    with pytest.raises(bp.UserError, match=said):
        bp.attach(built(), bp.DirectFeedbackAlignment(), blocks=["layers.*"], **wrong)


def test_tied_parameters_in_blocks_of_two_rules_are_told_what_works():
    model = built()
    with pytest.raises(bp.AttachError, match=r"give both Backprop\(\)"):
        bp.attach(model, bp.DirectFeedbackAlignment(), ["embedding", "layers.*"], output="norm")
    exact = {"embedding": bp.Backprop(), "head": bp.Backprop(), "norm": bp.Backprop()}
    bp.attach(model, {**exact, "layers.*": bp.DirectFeedbackAlignment()})


def test_a_rule_behind_the_output_is_refused():
    rules = {"layers.*": bp.DirectFeedbackAlignment(), "head": bp.DirectFeedbackAlignment()}
    model = built(tied=False)
    bp.attach(model, rules, output="norm")
    with pytest.raises(bp.UserError, match="block 'head' runs after the module"):
        model(X)


def test_the_order_of_definition_does_not_decide():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(8, 3)
            self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))

        def forward(self, x):
            """(batch, 8) -> (batch, 3)."""
            for layer in self.layers:
                x = torch.tanh(layer(x))
            return self.head(x)

    model = Backwards()
    handle = bp.attach(model, bp.DirectFeedbackAlignment(), ["layers.*"], output="head")
    assert [b.name for b in handle.blocks] == ["layers.0", "layers.1", "layers.2", "head"]
    model(torch.randn(4, 8)).square().sum().backward()
    taught = model.layers[0].weight.grad.clone()
    model.zero_grad()
    model(torch.randn(4, 8)).square().sum().backward()
    assert not torch.allclose(taught, model.layers[0].weight.grad)


class Leaky(TinyForCausalLM):
    """It returns its hidden states, and adds a penalty on one of them where it is asked to."""

    penalty = 0.0

    def forward(self, ids, labels=None):
        """(batch, tokens) -> the loss, and a hidden state that nobody has detached."""
        states = []
        for layer in self.layers:
            layer.register_forward_pre_hook(lambda _, inputs: states.append(inputs[0]))
            layer.norm.register_forward_hook(lambda _, __, out: states.append(out))
        found = super().forward(ids, labels)
        if self.penalty:
            found.loss = found.loss + self.penalty * states[-1].square().mean()
        return {"loss": found.loss, "hidden": states[-1]}


def test_no_gradient_enters_blocks_past_the_output():
    torch.manual_seed(0)
    model = Leaky().double()
    bp.attach(model, bp.DirectFeedbackAlignment(), ["layers.*"], output="norm", targets="labels")
    found = model(X, labels=X)
    with pytest.raises(bp.UserError, match="a loss uses the output of a block"):
        found["hidden"].sum().backward()
    found["loss"].backward()
    model.penalty = 0.1
    with pytest.raises(bp.UserError, match="reaches taught blocks without passing the module"):
        model(X, labels=X)


def test_rules_that_run_the_model_take_no_output():
    with pytest.raises(bp.AttachError, match="leave output= out"):
        bp.attach(built(tied=False), bp.ForwardGradient(), output="norm")


def test_an_output_that_does_not_run_once_is_told():
    class Twice(nn.Module):
        def __init__(self, times):
            super().__init__()
            self.first, self.last, self.times = nn.Linear(3, 3), nn.Linear(3, 3), times

        def forward(self, x):
            """(batch, 3) -> the same."""
            x = self.first(x)
            for _ in range(self.times):
                x = self.last(x)
            return x

    for times, said in ((0, "did not run"), (2, "runs twice")):
        model = Twice(times)
        bp.attach(model, bp.DirectFeedbackAlignment(), blocks=["first"], output="last")
        with pytest.raises(bp.UserError, match=said):
            model(torch.randn(2, 3))


@pytest.mark.parametrize("output", ["norm", "head"])
def test_targets_teach_at_once_as_later(output):
    weights = []
    for at_once in (False, True):
        model, handle = attached("drtp", output, tied=False)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        if at_once:
            handle.follow(bp.Immediate(optimizer))
        optimizer.zero_grad()
        loss = model(X, labels=X).loss
        loss.backward()
        optimizer.step()
        weights.append(model.layers[0].mix.weight.detach())
    torch.testing.assert_close(*weights)


def test_copies_and_exact_gradients():
    model, _ = attached("dfa")
    other = copy.deepcopy(model)
    for each in (model, other):
        each(X, labels=X).loss.backward()
    torch.testing.assert_close(gradients(model), gradients(other))
    plain = built()
    plain(X, labels=X).loss.backward()
    model.zero_grad()
    with bp.exact_gradients(model):
        model(X, labels=X).loss.backward()
    torch.testing.assert_close(gradients(model), gradients(plain), rtol=0, atol=0)
    with torch.no_grad():
        assert not model(X, labels=X).loss.requires_grad


class Aside(TinyForCausalLM):
    """What one part makes goes around the output, and another part is for other calls."""

    def __init__(self) -> None:
        super().__init__(tied=False)
        self.aside, self.unused = nn.Embedding(VOCABULARY, WIDTH), nn.Parameter(torch.ones(2))
        # Both are defined before the output.
        self.norm, self.head = self._modules.pop("norm"), self._modules.pop("head")

    def forward(self, ids: Tensor, labels: Tensor | None = None) -> Tensor:
        """(batch, tokens) -> the loss."""
        x = self.embedding(ids)
        for layer in self.layers:
            x = layer(x)
        logits = self.head(self.norm(x) + self.aside(ids))
        return F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())


def test_what_goes_around_the_output_or_is_not_used_is_left_alone():
    model = Aside()
    dfa = bp.DirectFeedbackAlignment()
    bp.attach(model, dfa, ["layers.*"], output="norm", targets="labels")
    model(X, labels=X).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == ["unused"]
    exact = copy.deepcopy(model)
    exact.zero_grad()
    with bp.exact_gradients(exact):
        exact(X, labels=X).backward()
    assert model.aside.weight.grad.equal(exact.aside.weight.grad)


@pytest.mark.parametrize("output", ["norm", None])
def test_what_learns_later_is_looked_at_again(output):
    model = built(tied=False)
    rest = model.embedding.requires_grad_(requires_grad=False)
    rules = {"layers.0": bp.Frozen(), "layers.*": bp.DirectFeedbackAlignment()}
    behind = {} if output else {"norm": bp.Backprop(), "head": bp.Backprop()}
    bp.attach(model, rules | behind, output=output)

    def step():
        return F.cross_entropy(model(X).logits.flatten(0, 1), X.flatten()).backward()

    step()
    step()
    rest.requires_grad_()
    with pytest.raises(bp.UserError, match=r"embedding.*is in no block|no block holds embedding"):
        step()


def test_an_output_that_a_block_made_is_told_what_to_name():
    class Body(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(Layer() for _ in range(2))

        def forward(self, x: Tensor) -> tuple[Tensor]:
            """(batch, tokens, features) -> the same."""
            for layer in self.layers:
                x = layer(x)
            return (x,)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.body = nn.Embedding(VOCABULARY, WIDTH), Body()
            self.head = nn.Linear(WIDTH, VOCABULARY)

        def forward(self, ids: Tensor) -> Tensor:
            """(batch, tokens) -> (batch, tokens, vocabulary)."""
            return self.head(self.body(self.embedding(ids))[0])

    model, dfa = Model(), bp.DirectFeedbackAlignment()
    handle = bp.attach(model, dfa, ["body.layers.*"], output="body")
    with pytest.raises(bp.UserError, match=r"output='body' returns.* output='body.layers.1'"):
        model(X)
    handle.remove()
    bp.attach(model, dfa, ["body.layers.*"], output="body.layers.1")
    model(X).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_models_with_two_heads_shift_their_labels():
    class TinyDoubleHeadsModel(nn.Module):
        def forward(self, ids: Tensor, labels: Tensor | None = None) -> None:
            """Do nothing."""

    assert labels_of(TinyDoubleHeadsModel(), "labels", None).shift == 1
