"""Layers that came, went or changed after rules were attached that must know every layer."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import beyondprop as bp


class Lora(nn.Module):
    """What adapters put around a layer."""

    def __init__(self, base):
        super().__init__()
        self.base = base
        self.down, self.up = nn.Linear(8, 2, bias=False), nn.Linear(2, 8, bias=False)

    def forward(self, x):
        return self.base(x) + self.up(self.down(x))


def deep():
    inner = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Tanh())
    return nn.Sequential(nn.Linear(8, 8), nn.Sequential(inner, nn.Linear(8, 8)), nn.Linear(8, 4))


def put(model, name, module):
    parent, _, key = name.rpartition(".")
    setattr(model.get_submodule(parent), key, module)


def run(model):
    model(torch.randn(5, 8)).square().mean().backward()


CHANGES = {
    "replaced": (lambda m: put(m, "2", nn.Linear(8, 4)), "2"),
    "deep": (lambda m: put(m, "1.0.0", nn.Linear(8, 8)), "1.0.0"),
    "adapter": (lambda m: put(m, "1.1", Lora(m[1][1])), "1.1.down"),
    "container": (lambda m: put(m, "1.1", nn.Sequential(nn.Tanh(), nn.Linear(8, 8))), "1.1.1"),
    "appended": (lambda m: m.append(nn.Linear(4, 4)), "3"),
    "parametrized": (
        lambda m: parametrizations.spectral_norm(m[1][1]),
        "1.1.parametrizations.weight",
    ),
    "copied": (lambda m: put(m, "2", copy.deepcopy(m[2])), "2"),
}
layer_rules = pytest.mark.parametrize("rule", ["fa", "usf", "brsf", "frsf", "wm", "kp"])


@pytest.mark.parametrize("change", list(CHANGES))
@layer_rules
def test_layers_that_came_later_are_refused(rule, change):
    model = deep()
    handle = bp.attach(model, bp.rules.make(rule))
    run(model)
    alter, name = CHANGES[change]
    alter(model)
    with pytest.raises(bp.UserError, match=f"the module '{name}' was replaced, added or removed"):
        run(model)
    with bp.exact_gradients(model):
        run(model)
    with torch.no_grad():
        model(torch.randn(5, 8))
    handle.remove()
    run(model)
    if change != "copied" and (rule, change) != ("kp", "parametrized"):
        bp.attach(model, bp.rules.make(rule))
        run(model)


@layer_rules
def test_what_carries_no_error_through_weights_may_change(rule):
    model = deep()
    bp.attach(model, bp.rules.make(rule))
    put(model, "1.0.2", nn.ReLU())
    run(model)
    model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert isinstance(model[1][0][1], nn.SyncBatchNorm)
    model.eval()
    run(model)
    put(model, "1.0.1", nn.LayerNorm(8))
    put(model, "1.1", nn.Identity())
    run(model)
    put(model, "1.1", nn.Linear(8, 8))
    with pytest.raises(bp.UserError, match=r"'1\.1' was replaced"):
        run(model)


def test_a_block_that_keeps_its_exact_gradient_may_change():
    model = deep()
    bp.attach(model, {"1": bp.FeedbackAlignment(), "*": bp.Backprop()})
    put(model, "2", nn.Linear(8, 4))
    run(model)
    put(model, "1.1", nn.Linear(8, 8))
    with pytest.raises(bp.UserError, match=r"'1\.1' was replaced"):
        run(model)


def test_layers_of_a_rule_of_layers_beside_rules_that_end_graphs():
    model = deep()
    rules = {"0": bp.DirectFeedbackAlignment(), "1": bp.FeedbackAlignment(), "*": bp.Backprop()}
    bp.attach(model, rules)
    run(model)
    put(model, "1.1", nn.Linear(8, 8))
    with pytest.raises(bp.UserError, match=r"'1\.1' was replaced"):
        run(model)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: m])
def test_a_copy_knows_its_own_layers(copied):
    model = deep()
    bp.attach(model, bp.FeedbackAlignment())
    twin = copied(model)
    run(twin)
    put(twin, "1.1", nn.Linear(8, 8))
    with pytest.raises(bp.UserError, match=r"'1\.1' was replaced"):
        run(twin)
    if twin is not model:
        run(model)


@pytest.mark.parametrize("rule", ["pepita", "fg", "dualprop", "pc", "epc"])
@pytest.mark.parametrize(
    "alter",
    [
        lambda m: put(m, "2", nn.Linear(8, 8)),
        lambda m: m.append(nn.Linear(4, 4)),
        lambda m: put(m, "1", nn.ReLU()),
        lambda m: m.pop(1),
    ],
    ids=["replaced", "appended", "activation", "gone"],
)
def test_a_rule_that_runs_the_model_must_know_every_module(rule, alter):
    model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 4))
    handle = bp.attach(model, bp.rules.make(rule))
    x, y = torch.randn(5, 8), torch.tensor([0, 1, 2, 3, 0])

    def taught():
        with handle.targets(y):
            nn.functional.cross_entropy(model(x), y).backward()

    taught()
    alter(model)
    with pytest.raises(bp.UserError, match="was replaced, added or removed"):
        taught()
    with bp.exact_gradients(model):
        taught()
