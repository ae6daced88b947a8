"""A machine begins anew, and leaves an ordinary model at its end."""

import copy

import pytest
import torch
from torch import nn

import beyondprop as bp
from beyondprop import slots
from tests.unit.slots.networks import OPTIMIZERS, classifier, step, trained


def unconverted():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)
    )


@pytest.mark.parametrize("end", [slots.freeze, slots.finetune])
def test_an_old_optimizer_does_not_go_on_after_the_end(end):
    model, optimizer = trained()
    before = model[0].weight.clone()
    end(model)
    with pytest.raises(bp.UserError, match=r"were ended by slots\.freeze\(\)"):
        optimizer.step()
    assert torch.equal(model[0].weight, before)


def test_an_ordinary_optimizer_leaves_frozen_weights():
    model, _ = trained()
    before = model[0].weight.clone()
    slots.freeze(model)
    torch.optim.SGD([model[0].weight.requires_grad_()], 0.1).step()
    assert torch.equal(model[0].weight, before)


def test_a_restarted_machine_begins_anew():
    model = classifier()
    before = [p.clone() for p in model.parameters()]
    optimizer = slots.drive(OPTIMIZERS["sgd"](model.parameters()), model)
    for _ in range(20):
        step(model, optimizer)
    slots.machine_of(model).restart()
    for a, b in zip(model.parameters(), before, strict=True):
        assert torch.equal(a, b)


def test_freeze_and_finetune():
    model = unconverted()
    slots.convert(model)
    twin = copy.deepcopy(model)
    assert slots.freeze(model) is model
    assert not model[0].weight.requires_grad
    assert slots.finetune(twin)[0].weight.requires_grad
    assert slots.machine_of(twin) is None
    optimizer = torch.optim.Adam(twin.parameters(), 0.1)  # an ordinary one again
    twin(torch.randn(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    assert not torch.equal(twin[0].weight, model[0].weight)
    with pytest.raises(bp.UserError, match=r"has no slots: call slots\.convert"):
        slots.freeze(model)


def test_converting_twice_is_possible_after_freeze():
    model, _ = trained()
    slots.finetune(model)
    slots.convert(model)
    assert slots.machine_of(model) is not None
