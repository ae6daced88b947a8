"""A machine starts again, and leaves an ordinary model at its end."""

import copy

import pytest
import torch
from torch import nn

import beyondprop as bp
from beyondprop import slots
from tests.unit.slots import internals
from tests.unit.slots.networks import OPTIMIZERS, Task, classifier, step, trained


def unconverted():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)
    )


@pytest.mark.parametrize("end", [slots.freeze, slots.finetune])
def test_an_old_optimizer_does_not_go_on_after_the_end(end):
    model, optimizer = trained()
    before = model[0].weight.clone()
    end(model)
    with pytest.raises(bp.UserError, match=r"slots\.freeze\(\) or slots\.finetune\(\) removed"):
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


class Released(nn.Module):
    """A layer as in the released code: one-hot choices, all K scores learned straight through."""

    def __init__(self, values, scores):
        super().__init__()
        self.values = values
        self.scores = nn.Parameter(scores)

    def forward(self, x):
        chosen = nn.functional.one_hot(self.scores.detach().argmax(0), len(self.scores))
        passed = chosen.movedim(-1, 0).to(x.dtype) + self.scores - self.scores.detach()
        return x @ (self.values * passed).sum(0).T


def test_the_released_code():
    """Bounds of √3 σ for values and scores alike, SGD at 0.1 with momentum and without decay."""
    task = Task()
    kind = slots.Reels(4, values=slots.WideGlorotUniform(), linear_scores=1.0, conv_scores=1.0)
    model = task.model(kind)
    values, scores = ([torch.from_numpy(a) for a in each] for each in internals.arrays(model))
    for tensor, (fan_in, fan_out) in enumerate([(6, 8), (8, 3)]):
        bound = (6 / (fan_in + fan_out)) ** 0.5
        assert 0.9 * bound < values[tensor].abs().max() < bound
        assert values[tensor].min() < -0.8 * bound
        assert 0 < scores[tensor].min() < 0.1 * bound
        assert 0.9 * bound < scores[tensor].max() < bound
    theirs = nn.Sequential(
        Released(values[0], scores[0]), nn.Tanh(), Released(values[1], scores[1])
    )
    own = slots.drive(torch.optim.SGD(model.parameters(), 0.1, momentum=0.9), model)
    other = torch.optim.SGD(theirs.parameters(), 0.1, momentum=0.9)
    before = model[0].weight.clone()
    for _ in range(30):
        task.step(model, own)
        task.step(theirs, other)
        torch.testing.assert_close(model(task.x), theirs(task.x), rtol=1e-6, atol=1e-6)
    assert not torch.equal(model[0].weight, before)
