"""Recurrent cells with a modified backward pass: the rule applies to both of their products."""

from typing import Any

import torch
from torch import Tensor, nn

from beyondprop.layers.feedback import AtWeights, taught
from beyondprop.layers.linear import linear


class _FeedbackCell:
    """Common parts of the cells below."""

    _feedback: AtWeights

    @staticmethod
    def inputs_of(cell: Any) -> dict[str, int]:
        """Return the number of inputs that an output sums over, by weight."""
        return {"weight_ih": cell.input_size, "weight_hh": cell.hidden_size}

    def _products(self: Any, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return the contributions of the input and the hidden state to all gates."""
        feedback = self._feedback
        return (
            linear(x, self.weight_ih, self.bias_ih, feedback["weight_ih"]),
            linear(h, self.weight_hh, self.bias_hh, feedback["weight_hh"]),
        )

    def _zeros(self: Any, x: Tensor) -> Tensor:
        return x.new_zeros(*x.shape[:-1], self.hidden_size)


class FeedbackRNNCell(_FeedbackCell, nn.RNNCell):
    """An Elman cell under a `LayerRule`; made by swapping the class of a plain one."""

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """Compute ``f(W x + U h + b)``."""
        if not taught(self, input):
            return super().forward(input, hx)
        from_x, from_h = self._products(input, self._zeros(input) if hx is None else hx)
        return elman(from_x, from_h, self.nonlinearity)


class FeedbackGRUCell(_FeedbackCell, nn.GRUCell):
    """A GRU cell under a `LayerRule`; made by swapping the class of a plain one."""

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """Compute the next hidden state."""
        if not taught(self, input):
            return super().forward(input, hx)
        h = self._zeros(input) if hx is None else hx
        from_x, from_h = self._products(input, h)
        return gru(from_x, from_h, h)


class FeedbackLSTMCell(_FeedbackCell, nn.LSTMCell):
    """An LSTM cell under a `LayerRule`; made by swapping the class of a plain one."""

    def forward(
        self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Compute the next state."""
        if not taught(self, input):
            return super().forward(input, hx)
        h, c = (self._zeros(input), self._zeros(input)) if hx is None else hx
        from_x, from_h = self._products(input, h)
        return lstm(from_x, from_h, c)


def elman(from_x: Tensor, from_h: Tensor, nonlinearity: str) -> Tensor:
    """Return the next state from the two products."""
    return (torch.tanh if nonlinearity == "tanh" else torch.relu)(from_x + from_h)


def gru(from_x: Tensor, from_h: Tensor, h: Tensor) -> Tensor:
    """Return the next state from the two products; the gates are reset, update, new."""
    (xr, xz, xn), (hr, hz, hn) = from_x.chunk(3, -1), from_h.chunk(3, -1)
    update = torch.sigmoid(xz + hz)
    new = torch.tanh(xn + torch.sigmoid(xr + hr) * hn)
    return (1 - update) * new + update * h


def lstm(from_x: Tensor, from_h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Return the next state from the two products; the gates are input, forget, cell, output."""
    i, f, g, o = (from_x + from_h).chunk(4, -1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c
