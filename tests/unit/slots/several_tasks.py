"""A small network, and tasks that it learns one after another."""

import torch
import torch.nn.functional as F
from torch import nn

from beyondprop import slots
from tests.unit.slots.packable import outputs

SIZE = 16


def net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(SIZE, 64),
        nn.BatchNorm1d(64),
        nn.ReLU(),
        nn.Linear(64, 64),
        nn.ReLU(),
        nn.Linear(64, 4),
    )


def data(task, count=256, seed=0):
    """Return four classes around centres of a task's own."""
    centres = torch.randn(4, SIZE, generator=torch.Generator().manual_seed(100 + task)) * 2
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, (count,), generator=draw)
    return centres[labels] + 0.5 * torch.randn(count, SIZE, generator=draw), labels


def teach(bank, task, steps=60):
    """Learn a task by the published protocol, and keep it; return how well it does."""
    model = bank.machine.model
    bank.restart()
    optimizer = slots.drive(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), model)
    model.train()
    x, y = data(task)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    bank.keep(str(task))
    return accuracy(model, task)


def accuracy(model, task):
    x, y = data(task, seed=1)
    return float((outputs(model, x).argmax(1) == y).float().mean())


def converted(kind=8, **options):
    model = net()
    slots.convert(model, kind, **options)
    return model
