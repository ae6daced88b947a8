"""`torch.compile` of an attached model; the graph is captured and then run as it is ("eager")."""

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters

import beyondprop as bp
from tests.contract.teaching import (
    CLOSE,
    RULES,
    assert_same,
    attached,
    found,
    learned,
    loss_of,
    pairs,
    rule_of,
)
from tests.modules import CASE

# Both come of PyTorch 2.13's compiler itself, with any `autograd.Function` and any tensor with a
# history that crosses a graph break; it hides them, but not where warnings are errors.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*Function'> should not be instantiated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),
]

# All modules pass, but would take minutes; each of these has something that no other has.
AWKWARD = [
    CASE[name]
    for name in (
        "branch-on-data",
        "tuple-output",
        "mapping-block",
        "transformer-layer",
        "unet",
        "lstmcell",
        "class-token",
    )
]


QUICK = ("backprop", "frozen", "dfa", "dkp", "drtp", "fa", "kp", "wm", "lfg", "fg", "pepita")
"""Rules of each kind, and those that count passes or learn feedback."""


@pytest.fixture(autouse=True)
def _fresh():
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def pass_through(case, model, run, seed=1):
    """Do one pass of a model by way of ``run``, the model or what was compiled of it."""
    batch, handle = case.batch(seed), bp.attachment_of(model)
    with handle.targets(case.classes()):
        loss_of(case, run(*batch.inputs, **batch.keywords)).backward()


def trained(case, rule, compiles):
    """Train for four steps; return all that was learned, and the graphs known after each step."""
    model, handle = attached(case, rule)
    run = torch.compile(model, backend="eager") if compiles else model
    optimizer = torch.optim.SGD(learned(model).values(), 0.05, weight_decay=0.01)
    graphs, states = [], []
    for step in range(4):
        optimizer.zero_grad()
        pass_through(case, model, run, step)
        optimizer.step()
        graphs.append(counters["stats"]["unique_graphs"])
        states.append({**model.state_dict(), **handle.state_dict()})
        states[-1] = {n: t.clone() for n, t in states[-1].items()}
    return states, graphs


def check(case, rule, order):
    """Check that four steps learn the same, compiled or not, and soon reuse the same graphs."""
    found = {compiles: trained(case, rule, compiles) for compiles in order}
    states, graphs = found[True]
    expected, none = found[False]
    assert len(set(none)) == 1
    for step, (mine, its) in enumerate(zip(states, expected, strict=True)):
        torch.testing.assert_close(mine, its, **CLOSE, msg=lambda m, step=step: f"{step}: {m}")
    assert graphs[-1] == graphs[1], "compiled again in every step"
    # Rules that run the model by themselves leave nothing to compile.
    assert bool(graphs[1]) != bp.rules.RULES[rule].traits.whole_model
    if "passes" in states[0]:
        assert [int(state["passes"]) for state in states] == [1, 2, 3, 4]
        feedback = [n for n in states[0] if n.endswith("feedback")]
        moved = [n for n in feedback if not torch.equal(states[1][n], states[-1][n])]
        assert bool(moved) == bool(feedback)


@pairs([CASE["mlp"]], QUICK)
def test_a_rule_of_each_kind_learns_as_it_does_uncompiled(case, rule):
    rule_of.cache_clear()  # so that matrices are drawn in compiled code
    check(case, rule, [True, False])


@pytest.mark.slow
@pairs([CASE["mlp"]], [rule for rule in RULES if rule not in QUICK])
def test_every_rule_learns_as_it_does_uncompiled(case, rule):
    rule_of.cache_clear()
    check(case, rule, [True, False])


@pairs([CASE["residual"]], ["backprop", "fa", "kp", "dfa", "dkp", "drtp", "frozen"])
def test_hooked_models_learn_as_they_do_uncompiled(case, rule):
    check(case, rule, [False, True])


@pairs(AWKWARD, ["dfa"])
def test_awkward_modules(case, rule):
    gave = []
    for compiles in (False, True):
        model, _ = attached(case, rule)
        pass_through(case, model, torch.compile(model, backend="eager") if compiles else model)
        gave.append(found(model))
    assert counters["stats"]["unique_graphs"] > 0
    assert_same(*gave, **CLOSE)


def gradients_of(model, run):
    """Return the gradients of one pass by way of ``run``."""
    model.zero_grad()
    run(torch.linspace(-1, 1, 24).view(6, 4)).square().sum().backward()
    return {name: p.grad for name, p in model.named_parameters()}


class Forked(nn.Module):
    """No chain, so that hooks teach it."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x):
        """(batch, 4) -> (batch, 3)."""
        return self.last(torch.tanh(self.first(x)))


def test_what_was_compiled_before_is_compiled_anew():
    plain, model = Forked(), Forked()
    gradients_of(plain, torch.compile(plain, backend="eager"))
    exact = gradients_of(model, model)
    compiled = torch.compile(model, backend="eager")
    assert_same(gradients_of(model, compiled), exact, **CLOSE)
    rule = bp.DirectFeedbackAlignment()
    for _ in range(2):
        handle = bp.attach(model, rule, blocks=["first", "last"])
        taught = gradients_of(model, model)
        assert not torch.allclose(taught["first.weight"], exact["first.weight"])
        assert_same(gradients_of(model, compiled), taught, **CLOSE)
        handle.remove()
        assert_same(gradients_of(model, compiled), exact, **CLOSE)


class Causal(nn.Module):
    """A language model that computes its loss itself, called by keywords as Hugging Face's are."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.layers = nn.ModuleList([nn.Sequential(nn.Linear(4, 4), nn.Tanh()) for _ in range(2)])
        self.norm, self.head = nn.LayerNorm(4), nn.Linear(4, 7)

    def forward(self, input_ids=None, labels=None):
        x = self.embed(input_ids)
        for layer in self.layers:
            x = x + layer(x)
        logits = self.head(self.norm(x))
        pairs = logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
        return {"loss": nn.functional.cross_entropy(*pairs), "logits": logits}


@pytest.mark.parametrize("rule", ["dfa", "drtp"])
@pytest.mark.parametrize("output", ["norm", "head"])
def test_a_model_that_computes_its_loss(rule, output):
    ids, gave = torch.randint(7, (3, 5)), []
    for compiles in (False, True):
        torch.manual_seed(0)
        model = Causal()
        bp.attach(model, rule_of(rule), ["layers.*"], output=output, targets="labels", shift=1)
        run = torch.compile(model, backend="eager") if compiles else model
        run(input_ids=ids, labels=ids)["loss"].backward()
        gave.append(found(model))
    assert_same(gave[1], gave[0], **CLOSE)


@pytest.mark.parametrize("rule", ["fa", "wm", "dfa", "drtp"])
def test_layers_that_came_later_are_noticed(rule):
    model = Forked()
    handle = bp.attach(model, rule_of(rule), ["first", "last"])
    x, compiled = torch.randn(5, 4), torch.compile(model, backend="eager")
    for number in range(3):
        model.first = nn.Linear(4, 8) if number == 2 else model.first
        with handle.targets(torch.arange(5) % 3):
            if number < 2:
                compiled(x)
                continue
            with pytest.raises(bp.UserError, match=r"'first' was replaced"):
                compiled(x)
    with torch.no_grad():
        compiled(x)
