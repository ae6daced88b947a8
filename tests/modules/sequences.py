"""Recurrent nets, written out step by step or kept whole."""

import torch
from torch import Tensor, nn

from .case import Case
from .wiring import FORWARD_MODE


class Unrolled(nn.Module):
    """A cell run over a sequence, each step a call of its block."""

    def __init__(self, cell: type[nn.RNNCellBase], **settings: object) -> None:
        super().__init__()
        self.cell = cell(5, 8, **settings)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        state = None
        for step in x.unbind(1):
            state = self.cell(step, state)
        return self.head(state[0] if isinstance(state, tuple) else state)


class Elman(nn.Module):
    """A recurrent layer of linear layers, the whole sequence in one block."""

    def __init__(self) -> None:
        super().__init__()
        self.inward = nn.Linear(5, 8)
        self.again = nn.Linear(8, 8, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(len(x), 8)
        states = []
        for step in x.unbind(1):
            state = torch.tanh(self.inward(step) + self.again(state))
            states.append(state)
        return torch.stack(states, 1)


class LastState(nn.Module):
    """A whole LSTM of PyTorch, of which only the last output is handed on."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(5, 8, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.lstm(x)[0][:, -1]


class BareLSTM(nn.Module):
    """The LSTM itself is a block; its states, ``(layers, batch, features)``, are handed on."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(5, 8, batch_first=True)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x)[0][:, -1])


def taggers() -> nn.Module:
    return nn.Sequential(Elman(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 4))


def unrolled(cell: type[nn.RNNCellBase], **settings: object) -> Case:
    name = "-".join((cell.__name__, *map(str, settings.values()))).lower()
    build = lambda: Unrolled(cell, **settings)  # noqa: E731
    return Case(name, build, inputs=STEPS, blocks=["cell", "head"])


STEPS = ((6, 3, 5),)
CASES = [
    unrolled(nn.RNNCell),
    unrolled(nn.RNNCell, nonlinearity="relu"),
    unrolled(nn.GRUCell),
    unrolled(nn.LSTMCell),
    Case("elman", taggers, inputs=STEPS, targets=(6, 3)),
    Case(
        "lstm",
        lambda: nn.Sequential(LastState(), nn.Tanh(), nn.Linear(8, 4)),
        inputs=STEPS,
        refused=FORWARD_MODE,
    ),
    Case(
        "lstm-bare",
        BareLSTM,
        inputs=STEPS,
        blocks=["lstm", "head"],
        refused=FORWARD_MODE,
    ),
]
