"""Chains: blocks are found by themselves."""

import torch
from torch import Tensor, nn

from .case import Case


class Standardize(nn.Module):
    """Buffers and no parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.full((8,), 0.1))
        self.register_buffer("seen", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        self.seen += 1
        return (x - self.mean) / 1.1


class InPlace(nn.Module):
    """Changes its own layer's output in place, again and again."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).mul_(2).add_(0.1).relu_()


class Double(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.double()


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 7), nn.ReLU(), nn.Linear(7, 6), nn.Tanh(), nn.Linear(6, 4))


def without_bias() -> nn.Module:
    widths = ((8, 8), (8, 8), (8, 4))
    first, second, last = (nn.Linear(i, o, bias=False) for i, o in widths)
    return nn.Sequential(first, nn.Tanh(), second, last)


def shared_activation() -> nn.Module:
    act = nn.Tanh()
    return nn.Sequential(nn.Linear(8, 7), act, nn.Linear(7, 6), act, nn.Linear(6, 4), act)


def frozen_part() -> nn.Module:
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))
    model[0].requires_grad_(False)
    return model


def norms() -> nn.Module:
    return nn.Sequential(
        nn.Linear(8, 6),
        nn.LayerNorm(6),
        nn.GELU(),
        nn.Linear(6, 6),
        nn.BatchNorm1d(6),
        nn.ReLU(),
        nn.Linear(6, 6),
        nn.RMSNorm(6),
        nn.SiLU(),
        nn.Linear(6, 4),
    )


def nested() -> nn.Module:
    return nn.Sequential(
        nn.Sequential(nn.Linear(8, 6), nn.ReLU()),
        nn.Sequential(nn.Sequential(nn.Linear(6, 6), nn.ReLU()), nn.Sequential(nn.Linear(6, 6))),
        nn.Linear(6, 4),
    )


def named_children() -> nn.Module:
    model = nn.Sequential()
    for name, module in (("stem", nn.Linear(8, 6)), ("act", nn.ELU()), ("head", nn.Linear(6, 4))):
        model.add_module(name, module)
    return model


def of_width_one() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 1), nn.Tanh(), nn.Linear(1, 1), nn.Tanh(), nn.Linear(1, 4))


def once_lazy() -> nn.Module:
    model = nn.Sequential(
        nn.LazyLinear(6), nn.ReLU(), nn.LazyLinear(6), nn.ReLU(), nn.LazyLinear(4)
    )
    model(torch.zeros(2, 8))
    return model


def equal_widths() -> nn.Module:
    hidden = [part for _ in range(4) for part in (nn.Linear(8, 8), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(8, 4))


def dropouts() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 7), nn.ReLU(), nn.Dropout(0.5), nn.Linear(7, 4))


CASES = [
    Case("mlp", mlp),
    Case(
        "batch-of-one",
        mlp,
        inputs=((1, 8),),
        targets=(1,),
        refused={"scff": "pairs inputs, so it needs at least two"},
    ),
    Case(
        "flatten",
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(8, 6), nn.Sigmoid(), nn.Linear(6, 4)),
        inputs=((6, 2, 4),),
    ),
    Case("equal-widths", equal_widths),
    Case("no-bias", without_bias),
    Case("norms", norms),
    Case(
        "in-place",
        lambda: nn.Sequential(
            nn.Linear(8, 6),
            nn.ReLU(inplace=True),
            nn.Linear(6, 6),
            nn.ReLU(inplace=True),
            nn.Linear(6, 4),
        ),
    ),
    Case("in-place-inside", lambda: nn.Sequential(InPlace(), InPlace(), nn.Linear(8, 4))),
    Case("prelu", lambda: nn.Sequential(nn.Linear(8, 7), nn.PReLU(7), nn.Linear(7, 4))),
    Case("one-block", lambda: nn.Sequential(nn.Linear(8, 4))),
    Case("nested", nested),
    Case("named-children", named_children),
    Case("shared-activation", shared_activation),
    Case("frozen-part", frozen_part),
    Case("buffers", lambda: nn.Sequential(Standardize(), *mlp())),
    Case(
        "no-parameters",
        lambda: nn.Sequential(nn.Identity(), nn.Linear(8, 8), nn.Identity(), nn.Linear(8, 4)),
    ),
    Case("width-one", of_width_one),
    Case("once-lazy", once_lazy),
    Case("dropout-eval", dropouts, training=False),
    Case("double", lambda: nn.Sequential(Double(), *mlp()).double()),
]
