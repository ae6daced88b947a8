"""A small network and its task, as the library has it and as the references have it."""

import numpy as np
import torch
from torch import nn

from beyondprop import slots


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
