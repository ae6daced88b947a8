"""Weights that are not what their scores choose, or that would leave their values."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import beyondprop as bp
from beyondprop import slots
from tests.unit.slots.internals import on_values
from tests.unit.slots.networks import OPTIMIZERS, X, Y, classifier, step, trained


def test_weights_loaded_without_their_scores_are_refused():
    model, other = classifier(), classifier()
    optimizer = slots.drive(OPTIMIZERS["sgd"](model.parameters()), model)
    for _ in range(5):
        step(model, optimizer)
    resumed = slots.drive(OPTIMIZERS["sgd"](other.parameters()), other)
    other.load_state_dict(model.state_dict())
    with pytest.raises(bp.UserError, match="does not match its scores"):
        step(other, resumed)
    model.load_state_dict(copy.deepcopy(model.state_dict()))  # its own are no trouble
    step(model, optimizer)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("part", [None, "0"])
def test_nor_are_those_loaded_before_drive_or_into_a_layer(seed, part):
    model, other = trained()[0], nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 3))
    slots.convert(other, 8, seed=seed)
    if part is None:
        other.load_state_dict(model.state_dict())
    optimizer = slots.drive(OPTIMIZERS["sgd"](other.parameters()), other)
    if part is not None:
        step(other, optimizer)
        other[0].load_state_dict(model[0].state_dict())
    with pytest.raises(
        bp.UserError, match="'0.weight' does not match its scores".replace(".", r"\.")
    ):
        step(other, optimizer)


def test_another_machines_weights_are_not_moved():
    model, other = classifier(), classifier()
    both = torch.optim.SGD([*model.parameters(), *other.parameters()], 0.1)
    slots.drive(both, model)
    with pytest.raises(bp.UserError, match="with one optimizer for each model"):
        step(other, both)
    optimizer = slots.drive(torch.optim.SGD([model[0].weight], 0.1), model)
    optimizer.add_param_group({"params": [model[2].weight]})
    with pytest.raises(bp.UserError, match=r"change '2\.weight' to other values"):
        step(model, optimizer)


def test_an_ordinary_optimizer_is_refused():
    model = classifier()
    optimizer = torch.optim.Adam(model.parameters())
    with pytest.raises(bp.UserError, match=r"'0\.weight' to other values: call slots\.drive"):
        step(model, optimizer)
    assert on_values(model)
    twin = copy.deepcopy(model)
    with pytest.raises(bp.UserError, match="to other values"):
        step(twin, torch.optim.SGD(twin.parameters(), 0.1))
    ordinary = nn.Linear(10, 3)
    step(ordinary, torch.optim.SGD(ordinary.parameters(), 0.1))


def test_changed_weights_are_found():
    model = classifier()
    with torch.no_grad():
        model[0].weight[0, 0] = 7
    with pytest.raises(bp.UserError, match=r"'0\.weight' holds weights that are not among"):
        on_values(model)


def test_moving_the_model_after_drive_is_refused():
    model = classifier()
    optimizer = slots.drive(OPTIMIZERS["sgd"](model.parameters()), model)
    model.double()
    optimizer.zero_grad()
    cross_entropy(model(X.double()), Y).backward()
    with pytest.raises(bp.UserError, match=r"was moved to torch.float64, cpu after slots.drive"):
        optimizer.step()
