"""Layers of other libraries and of one's own whose operation is registered."""

import copy
import pickle

import numpy as np
import pytest
import torch
from tests import internals
from torch import nn
from transport import Only, Transport, assert_transported, feedback_of, outcome, rand

import beyondprop as bp
from beyondprop.layers import Operation, linear, operations


class Conv1D(nn.Module):
    """As that of transformers.pytorch_utils."""

    def __init__(self, nf, nx):
        super().__init__()
        self.nf, self.nx = nf, nx
        self.weight = nn.Parameter(torch.empty(nx, nf))
        self.bias = nn.Parameter(torch.zeros(nf))
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, x):
        size_out = (*x.size()[:-1], self.nf)
        return torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight).view(size_out)


class Linear(nn.Module):
    """As that of torch_geometric.nn.dense.linear."""

    def __init__(self, in_channels, out_channels, bias=True):
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels))
        if bias:
            self.bias = nn.Parameter(torch.randn(out_channels))
        else:
            self.register_parameter("bias", None)

    def forward(self, x):
        return nn.functional.linear(x, self.weight, self.bias)


Conv1D.__module__ = "transformers.pytorch_utils"
Linear.__module__ = "torch_geometric.nn.dense.linear"

FOREIGN = {
    "Conv1D": lambda: Conv1D(3, 4),
    "Linear": lambda: Linear(4, 3),
    "no bias": lambda: Linear(4, 3, bias=False),
    "subclass": lambda: type("Sub", (Conv1D,), {})(3, 4),
}


@pytest.mark.parametrize("leading", [(2,), (2, 5)])
@pytest.mark.parametrize("kind", list(FOREIGN))
def test_layers_of_other_libraries_are_covered(kind, leading):
    x = rand(*leading, 4)
    assert_transported(FOREIGN[kind]().double(), lambda model: model(x), [x])


@pytest.mark.parametrize("rule", ["fa", "usf", "frsf", "brsf", "wm", "kp"])
@pytest.mark.parametrize("kind", list(FOREIGN))
def test_products_equal_the_reference(kind, rule):
    """One number at a time; rules see the weight as (out, in), whichever way it is kept."""
    layer, x = FOREIGN[kind]().double(), rand(2, 4)
    model = Only(layer)
    bp.attach(model, bp.rules.make(rule), blocks=["layer"])
    output = model(x)
    matrix = feedback_of(layer).numpy()
    error = torch.randn_like(output)
    output.backward(error)
    assert matrix.shape == (3, 4)
    weight, got = layer.weight.detach().numpy(), x.detach().numpy()
    kept = weight if weight.shape == (3, 4) else weight.T
    for n in range(2):
        for i in range(3):
            bias = 0 if layer.bias is None else float(layer.bias.detach()[i])
            expected = bias + sum(kept[i, j] * got[n, j] for j in range(4))
            np.testing.assert_allclose(float(output[n, i].detach()), expected)
        for j in range(4):
            behind = sum(float(error[n, i]) * matrix[i, j] for i in range(3))
            np.testing.assert_allclose(float(x.grad[n, j]), behind)
    gradient = layer.weight.grad if weight.shape == (3, 4) else layer.weight.grad.t()
    for i in range(3):
        for j in range(4):
            one = sum(float(error[n, i]) * got[n, j] for n in range(2))
            np.testing.assert_allclose(float(gradient[i, j]), one)


def test_a_transposed_weight_and_its_feedback_come_together():
    model = nn.Sequential(nn.Linear(4, 4), Conv1D(3, 4))
    handle = bp.attach(model, bp.KolenPollack())
    optimizer = torch.optim.SGD([*model.parameters(), *handle.parameters()], 0.1, weight_decay=0.5)

    def distance():
        return (model[1].weight.t() - feedback_of(model[1])).norm().item()

    begun = distance()
    for _ in range(20):
        optimizer.zero_grad()
        model(torch.randn(8, 4)).square().mean().backward()
        optimizer.step()
    assert distance() < 0.5 * begun


class Doubled(nn.Module):
    """A layer of one's own: 2 x Wᵀ."""

    def __init__(self):
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(3, 4))

    def forward(self, x, factor=2.0):
        return factor * (x @ self.kernel.t())


class DoubledByRule(Operation):
    def inputs_of(self, layer):
        return {"kernel": layer.kernel.shape[1]}

    def forward(self, layer, at, x, factor=2.0):
        return factor * linear(x, layer.kernel, None, at["kernel"])


@pytest.fixture
def registry(monkeypatch):
    """A registry that is forgotten afterwards."""
    monkeypatch.setattr(operations, "REGISTERED", dict(operations.REGISTERED))
    return operations.REGISTERED


@pytest.mark.parametrize("by", [Doubled, f"{Doubled.__module__}:Doubled"])
@pytest.mark.usefixtures("registry")
def test_a_layer_of_ones_own(by):
    x = rand(2, 4)
    with pytest.raises(bp.AttachError, match=r"cannot cover '0'.*layers\.register_operation"):
        bp.attach(nn.Sequential(Doubled(), nn.Linear(3, 2)), bp.FeedbackAlignment())
    bp.layers.register_operation(by, DoubledByRule())
    assert_transported(Doubled().double(), lambda model: model(x, factor=3.0), [x])
    own = type("Own", (Doubled,), {"forward": lambda self, x: self.kernel @ x})
    with pytest.raises(bp.AttachError, match="cannot cover '0'"):
        bp.attach(nn.Sequential(own()), bp.FeedbackAlignment())


def test_copies_of_a_registered_layer(registry):
    bp.layers.register_operation(Doubled, DoubledByRule())
    model, x = nn.Sequential(Doubled(), nn.Tanh(), nn.Linear(3, 2)).double(), rand(2, 4)
    bp.attach(model, Transport(factor=2.0))
    ours = outcome(model, lambda m: m(x), [x])
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert internals.is_swapped(twin[0])
        torch.testing.assert_close(outcome(twin, lambda m: m(x), [x]), ours)
        bp.attachment_of(twin).remove()
        assert type(twin[0]) is Doubled
    saved = pickle.dumps(model)
    registry.clear()
    with pytest.raises(bp.UserError, match=r"Doubled under a layer rule.*before loading"):
        pickle.loads(saved)


@pytest.mark.usefixtures("registry")
def test_a_later_registration_counts_even_for_a_known_layer():
    class Twice(nn.Linear):
        def forward(self, input):
            return 2 * super().forward(input)

    class TwiceByRule(Operation):
        def inputs_of(self, layer):
            return {"weight": layer.in_features}

        def forward(self, layer, at, x):
            return 2 * linear(x, layer.weight, layer.bias, at["weight"])

    bp.layers.register_operation(Twice, DoubledByRule())
    bp.layers.register_operation(Twice, TwiceByRule())
    x = rand(2, 4)
    assert_transported(Twice(4, 3).double(), lambda model: model(x), [x])


WRONG = [
    (int, DoubledByRule(), "int is not an nn.Module"),
    ("Doubled", DoubledByRule(), "as 'module:Class', not 'Doubled'"),
    (3, DoubledByRule(), "not 3"),
    (Doubled, DoubledByRule, "DoubledByRule: call the class"),
    (Doubled, nn.Linear, "Linear: call the class"),
    (Doubled, "linear", "not 'linear'"),
]


@pytest.mark.parametrize(("kind", "operation", "said"), WRONG)
def test_what_cannot_be_registered(kind, operation, said):
    with pytest.raises(bp.UserError, match=said):
        bp.layers.register_operation(kind, operation)


@pytest.mark.parametrize("named", [{"weight": 4}, {"kernel": 5}, {"kernel": 0}])
@pytest.mark.usefixtures("registry")
def test_an_operation_that_names_no_weight_of_its_layer(named):
    class Wrong(DoubledByRule):
        def inputs_of(self, layer):  # noqa: ARG002
            return named

    bp.layers.register_operation(Doubled, Wrong())
    model = nn.Sequential(Doubled(), nn.Linear(3, 2))
    with pytest.raises(bp.UserError, match="correct inputs_of of"):
        bp.attach(model, bp.FeedbackAlignment())
    assert type(model[0]) is Doubled
    assert bp.attachment_of(model) is None
