"""Which task inputs without labels belong to."""

import pytest
import torch
from torch import nn

import beyondprop as bp
from beyondprop import UserError, slots
from tests.unit.slots.packable import learn
from tests.unit.slots.several_tasks import SIZE, converted, data, teach


def test_the_network_tells_the_tasks_apart(taught):
    bank, _ = taught
    model = bank.machine.model
    bank.use("1")
    model.train()
    model[1].eval()
    before = {n: t.clone() for n, t in model.state_dict().items()}
    model[0].weight.grad = torch.ones_like(model[0].weight)
    for task in range(3):
        x = data(task, seed=2)[0]
        assert bank.infer(x) == bank.infer_each(x) == str(task)
        with torch.no_grad():
            assert bank.infer(x) == str(task)
        with torch.inference_mode():
            assert bank.infer(x * 1) == bank.infer_each(x * 1) == str(task)
    assert model.training
    assert not model[1].training
    assert torch.equal(model[0].weight.grad, torch.ones_like(model[0].weight))
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])
    model[0].weight.grad = None


def test_the_gradient_is_that_of_the_shares():
    model = nn.Sequential(nn.Linear(5, 4, bias=False), nn.Tanh(), nn.Linear(4, 3, bias=False))
    slots.convert(model.double(), 4)
    torch.manual_seed(0)
    bank, x = slots.bank(model), torch.randn(20, 5, dtype=torch.float64)
    weights = []
    for task in range(4):
        bank.restart()
        learn(model, x, steps=5, seed=task)
        bank.keep(f"t{task}")
        weights.append([p.detach().clone() for p in model.parameters()])

    def entropy(shares, x):
        first, last = (sum(a * w[i] for a, w in zip(shares, weights, strict=True)) for i in (0, 1))
        p = (torch.tanh(x @ first.T) @ last.T).softmax(1)
        return -(p * p.log()).sum(1).mean()

    shares, each = torch.full((4,), 0.25, dtype=torch.float64), torch.eye(4, dtype=torch.float64)
    found = set()
    for _ in range(12):
        x = 3 * torch.randn(2, 5, dtype=torch.float64)
        slopes = [entropy(shares + 1e-5 * e, x) - entropy(shares - 1e-5 * e, x) for e in each]
        assert bank.infer(x) == f"t{slopes.index(min(slopes))}"
        alone = [entropy(e, x) for e in each]
        assert bank.infer_each(x) == f"t{alone.index(min(alone))}"
        found.add(bank.infer(x))
    assert len(found) > 1


def test_a_network_that_learns_by_a_rule_is_asked_for_its_true_gradient():
    bank = slots.bank(converted())
    handle = bp.attach(bank.machine.model, bp.DirectFeedbackAlignment())
    for task in range(2):
        assert teach(bank, task) > 0.9
    torch.manual_seed(0)
    asked = [torch.randn(2, SIZE) for _ in range(40)]
    answers = [(bank.infer(x), bank.infer_each(x)) for x in asked]
    handle.remove()
    assert answers == [(bank.infer(x), bank.infer_each(x)) for x in asked]


def test_a_model_without_logits_cannot_infer():
    model = nn.LSTM(3, 4)
    slots.convert(model, 4)
    bank = slots.bank(model)
    bank.keep("a")
    for ask in (bank.infer, bank.infer_each):
        with pytest.raises(UserError, match="logits"):
            ask(torch.randn(2, 5, 3))
    assert model.training
