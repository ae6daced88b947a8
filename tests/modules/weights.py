"""Weights that are tied, computed, or held in unusual places."""

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from .case import Case
from .wiring import FORWARD_MODE


class Tied(nn.Module):
    """Two layers of one block share a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(x)))


class Mixes(nn.Module):
    """A list of parameters in addition to layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(2))
        self.scales = nn.ParameterList(torch.tensor([0.5 + i]) for i in range(2))

    def forward(self, x: Tensor) -> Tensor:
        for scale, layer in zip(self.scales, self.layers, strict=True):
            x = x + scale * torch.tanh(layer(x))
        return x


class ClassToken(nn.Module):
    """A parameter of the model itself, put before the tokens between two blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 8)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.mix = nn.Linear(8, 8)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        x = torch.tanh(self.mix(torch.cat([self.token.expand(len(x), 1, -1), x], 1)))
        return self.head(x.mean(1))


def parametrized(how: str) -> nn.Module:
    model = nn.Sequential(nn.Linear(8, 7), nn.Tanh(), nn.Linear(7, 6), nn.Tanh(), nn.Linear(6, 4))
    getattr(parametrizations, how)(model[2])
    return model


CASES = [
    Case("tied-in-block", lambda: nn.Sequential(Tied(), nn.Tanh(), nn.Linear(8, 4))),
    Case("parameter-list", lambda: nn.Sequential(nn.Linear(8, 8), Mixes(), nn.Linear(8, 4))),
    Case(
        "class-token",
        ClassToken,
        inputs=((6, 3, 8),),
        blocks=["embed", "mix", "head"],
        backprop=["token"],
    ),
    *(
        Case(
            f"{how}",
            lambda how=how: parametrized(how),
            exact=("2",),
            exact_for=("kp",),
            pickles=False,
            refused={} if how == "orthogonal" else FORWARD_MODE,
        )
        for how in ("weight_norm", "spectral_norm", "orthogonal")
    ),
]
