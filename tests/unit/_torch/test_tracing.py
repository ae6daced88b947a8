"""Models with rules attached that are traced, exported, transformed or differentiated twice."""

import copy
import inspect

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

import beyondprop as bp
from beyondprop.engine.model_forward import ModelForward

# PyTorch scripts what it exports and traces by functions that it has deprecated itself.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
    # A forward pass is opened and closed, and a strict export tells what it leaves out.
    pytest.mark.filterwarnings("ignore:While compiling, we found certain side effects"),
]

RULES = ("dfa", "drtp", "dgl", "frozen", "fa", "pc", "fg", "pepita")
CHECKPOINT = r"^torch\.utils\.checkpoint"
X, Y = torch.linspace(-1, 1, 24).view(6, 4), torch.arange(6) % 3


def chain():
    parts = nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)
    return nn.Sequential(*parts)


class Net(nn.Module):
    """The same network, but no chain: hooks teach it."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        """(batch, 4) -> (batch, 3)."""
        return self.last(torch.relu(self.second(torch.relu(self.first(x)))))


def attach(model, rule):
    rule = bp.rules.make(rule)
    named = isinstance(model, Net) and not rule.traits.whole_model
    return bp.attach(model, rule, ["first", "second", "last"] if named else None)


def traced(model):
    torch.fx.symbolic_trace(model)(X).sum().backward()


def exported(model):
    torch.export.export(model, (X,)).module()(X).sum().backward()


def scripted(model):
    torch.jit.trace(model, (X,))(X).sum().backward()


def transformed(model):
    def loss(parameters):
        return torch.func.functional_call(model, parameters, (X,)).sum()

    torch.func.grad(loss)(dict(model.named_parameters()))


def mapped(model):
    torch.func.vmap(model)(X[:, None])


@pytest.mark.parametrize("how", [traced, exported, scripted, transformed, mapped])
@pytest.mark.parametrize("make", [chain, Net])
@pytest.mark.parametrize("rule", RULES)
def test_what_would_not_learn_by_the_rule_is_refused(rule, make, how):
    model = make()
    if make is Net and rule in ("pc", "pepita"):
        pytest.skip("these rules teach chains")
    handle = attach(model, rule)
    with handle.targets(Y), pytest.raises(bp.UserError):
        how(model)


def exported_strictly(model):
    torch.export.export(model, (X,), strict=True)


EVERY = [name for name in bp.rules.RULES if name not in ("backprop", "ff")]
WAY_OUT = r"call handle\.remove\(\) first, or do it inside bp\.exact_gradients\(model\)"


@pytest.mark.parametrize("how", [exported, exported_strictly, scripted])
@pytest.mark.parametrize("rule", EVERY)
def test_an_export_is_told_the_way_out_also_without_targets(rule, how):
    model = chain()
    attach(model, rule)
    with pytest.raises(bp.UserError, match=WAY_OUT):
        how(model)


def test_only_instances_look_like_the_forward_pass_that_they_run():
    model = chain()
    attach(model, "pepita")
    assert inspect.signature(model.forward) == inspect.signature(type(model).forward.__get__(model))
    assert inspect.unwrap(ModelForward) is ModelForward
    assert inspect.signature(ModelForward)
    assert not hasattr(model.forward, "nothing")


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("rule", EVERY)
def test_exact_gradients_are_that_way(rule, strict):
    model = chain()
    attach(model, rule)
    batch = torch.export.Dim("batch")
    with bp.exact_gradients(model):
        program = torch.export.export(model, (X,), dynamic_shapes=({0: batch},), strict=strict)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(X[:4]), model(X[:4]))


@pytest.mark.parametrize("how", [traced, exported, scripted, transformed, mapped])
def test_a_part_with_layers_of_its_own_is_refused_too(how):
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))

        def forward(self, x):
            """(batch, 4) -> (batch, 3)."""
            return self.inner(x)

    model = Outer()
    bp.attach(model, bp.FeedbackAlignment())
    with pytest.raises(bp.UserError, match="traced, exported or transformed"):
        how(model.inner)


@pytest.mark.parametrize("how", [traced, exported, transformed])
@pytest.mark.parametrize("rule", ["dfa", "fa"])
def test_true_gradients_may_be_transformed(rule, how):
    model = chain()
    attach(model, rule)
    with bp.exact_gradients(model):
        how(model)


@pytest.mark.parametrize("make", [chain, Net])
@pytest.mark.parametrize("rule", [r for r in RULES if r != "frozen"])
def test_second_derivatives_are_refused(rule, make):
    model = make()
    if make is Net and rule in ("pc", "pepita"):
        pytest.skip("these rules teach chains")
    handle = attach(model, rule)
    with handle.targets(Y):
        loss = F.cross_entropy(model(X), Y)
    with pytest.raises(bp.UserError, match="exact_gradients"):
        torch.autograd.grad(loss, list(model.parameters()), create_graph=True)


class Checkpointed(nn.Module):
    """Its middle is recomputed in the backward pass."""

    def __init__(self, bias):
        super().__init__()
        self.first, self.last = nn.Linear(4, 8), nn.Linear(8, 3)
        self.middle = nn.Sequential(nn.Linear(8, 8, bias=bias), nn.Tanh())

    def forward(self, x):
        """(batch, 4) -> (batch, 3)."""
        return self.last(checkpoint(self.middle, self.first(x), use_reentrant=False))


@pytest.mark.parametrize("bias", [False, True])
def test_a_recomputation_in_another_mode_is_told(bias):
    model = Checkpointed(bias)
    bp.attach(model, bp.FeedbackAlignment())
    with bp.exact_gradients(model):
        loss = model(X).sum()
        loss.backward()
    with bp.exact_gradients(model):
        loss = model(X).sum()
    with pytest.raises(RuntimeError, match=CHECKPOINT):
        loss.backward()
    loss = model(X).sum()
    with (
        bp.exact_gradients(model),
        pytest.raises(RuntimeError, match=CHECKPOINT),
    ):
        loss.backward()


def test_blocks_of_a_model_that_its_rule_runs_do_not_run_alone():
    model = chain()
    handle = attach(model, "pc")
    with pytest.raises(bp.UserError, match="run outside the model"):
        model[0](X)
    with torch.no_grad():
        model[0](X)
    with bp.exact_gradients(model):
        model[0](X)
    handle.remove()
    model[0](X)
    assert not model[0]._forward_pre_hooks


def test_an_output_that_cannot_be_looked_into_is_told():
    class Hidden(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x):
            """(batch, 4) -> something that holds (batch, 3)."""
            return {frozenset([self.layer(x)])}

    model = Hidden()
    bp.attach(model, bp.ForwardGradient())
    with pytest.raises(bp.UserError, match="no output that can carry an error in the model"):
        model(X)


@pytest.mark.parametrize("rule", ["pc", "epc", "fg", "dualprop", "pepita"])
def test_a_caller_may_work_in_place_on_the_output(rule):
    model = chain()
    other = copy.deepcopy(model)
    found = []
    for each, in_place in ((model, True), (other, False)):
        torch.manual_seed(1)
        handle = attach(each, rule)
        with handle.targets(Y):
            output = each(X)
        output = output.sub_(1) if in_place else output - 1
        F.cross_entropy(output, Y).backward()
        found.append([p.grad for p in each.parameters()])
    torch.testing.assert_close(*found)


def test_targets_may_be_overwritten_before_the_backward_pass():
    found = []
    for overwritten in (False, True):
        torch.manual_seed(0)
        model, targets = chain(), Y.clone()
        handle = attach(model, "drtp")
        with handle.targets(targets):
            loss = F.cross_entropy(model(X), Y)
        if overwritten:
            targets.zero_()
        loss.backward()
        found.append([p.grad for p in model.parameters()])
    torch.testing.assert_close(*found)


def test_a_block_that_checkpointing_computes_again_is_told():
    class Around(nn.Module):
        """Checkpoints around its blocks, hooks and all."""

        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(4, 8), nn.Linear(8, 3)

        def forward(self, x):
            """(batch, 4) -> (batch, 3)."""
            return self.last(checkpoint(self.first, x, use_reentrant=False))

    model = Around()
    handle = bp.attach(model, bp.LocalLoss(), ["first", "last"])
    with handle.targets(Y):
        loss = F.cross_entropy(model(X), Y)
    with pytest.raises(bp.UserError, match="checkpoint parts within the block"):
        loss.backward()
