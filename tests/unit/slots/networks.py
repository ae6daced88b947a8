"""Small networks and their tasks, as the library has them and as the references have them."""

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from beyondprop import slots
from beyondprop.slots import (
    GlorotUniform,
    KaimingUniform,
    MulticoatedSupermask,
    SignedSupermask,
    Supermask,
)

MASKS = [
    Supermask(),
    Supermask(0.1),
    Supermask(0.9, KaimingUniform()),
    MulticoatedSupermask(),
    MulticoatedSupermask((1.0, 0.5), GlorotUniform()),
    MulticoatedSupermask((0.7, 0.5, 0.3, 0.1), KaimingUniform()),
    SignedSupermask(),
    SignedSupermask(0.0),
    SignedSupermask(0.2, KaimingUniform()),
]


class Task:
    """``W2 tanh(W1 x)`` against random targets, by squared error."""

    def __init__(self, dtype=torch.float64, sizes=(6, 8, 3), samples=20):
        draw = torch.Generator().manual_seed(1)
        self.x, self.y = (
            torch.randn(samples, size, generator=draw, dtype=dtype) for size in sizes[::2]
        )
        self.dtype, self.sizes = dtype, sizes

    def model(self, kind=4, seed=3):
        into, hidden, out = self.sizes
        model = nn.Sequential(
            nn.Linear(into, hidden, bias=False), nn.Tanh(), nn.Linear(hidden, out, bias=False)
        )
        slots.convert(model.to(self.dtype), kind, seed=seed)
        return model

    def step(self, model, optimizer):
        optimizer.zero_grad()
        ((model(self.x) - self.y) ** 2).sum().div(2 * len(self.x)).backward()
        optimizer.step()

    def gradient(self, weights):
        """Return the gradients, by NumPy."""
        first, last = weights
        x, y = self.x.numpy(), self.y.numpy()
        hidden = np.tanh(x @ first.T)
        error = (hidden @ last.T - y) / len(x)
        return ((error @ last) * (1 - hidden**2)).T @ x, error.T @ hidden


DRAW = torch.Generator().manual_seed(0)
X, Y = torch.randn(64, 10, generator=DRAW), torch.randint(3, (64,), generator=DRAW)


def classifier(**options):
    """Return a converted network of two layers."""
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 3))
    slots.convert(model, options.pop("kind", 8), seed=1, **options)
    return model


def step(model, optimizer):
    """Take a step on the one batch; return its loss."""
    optimizer.zero_grad()
    loss = cross_entropy(model(X), Y)
    loss.backward()
    optimizer.step()
    return loss.item()


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, 0.2, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p, 0.01),
    "adamw": lambda p: torch.optim.AdamW(p, 0.01),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 0.003),
    "sgd foreach": lambda p: torch.optim.SGD(p, 0.2, momentum=0.9, foreach=True),
    "sgd fused": lambda p: torch.optim.SGD(p, 0.2, momentum=0.9, fused=True),
}


def trained():
    """Return a classifier that has learned for five steps, and its optimizer."""
    model = classifier()
    optimizer = slots.drive(OPTIMIZERS["sgd"](model.parameters()), model)
    for _ in range(5):
        step(model, optimizer)
    return model, optimizer
