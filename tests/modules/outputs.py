"""Models and blocks that return more than one tensor."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

import beyondprop as bp
from beyondprop.rules import (
    DirectKolenPollack,
    DirectRule,
    ErrorBroadcastDecorrelation,
    LearnedDirectFeedback,
    LocalLoss,
)

from .case import CLASSES, Case


class TwoHeads(nn.Module):
    def __init__(self, container: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU())
        self.heads = nn.ModuleDict({"a": nn.Linear(8, 4), "b": nn.Linear(8, 4)})
        self.container = container

    def forward(self, x: Tensor) -> Any:
        hidden = self.trunk(x)
        return self.container(self.heads["a"](hidden), self.heads["b"](hidden))


def as_tuple(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    return a, b


def as_list(a: Tensor, b: Tensor) -> list[Tensor]:
    return [a, b]


def as_dict(a: Tensor, b: Tensor) -> dict[str, Tensor]:
    return {"a": a, "b": b}


def as_nest(a: Tensor, b: Tensor) -> dict[str, Any]:
    return {"heads": [a, (b, "constant")], "count": 2, "nothing": None}


@dataclass
class Outputs:
    a: Tensor
    b: Tensor


class Named(NamedTuple):
    a: Tensor
    b: Tensor


class Pair(nn.Module):
    """A block that returns two tensors, of widths ``8`` and ``right``, and a constant."""

    def __init__(self, right: int) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(8, 8), nn.Linear(8, right)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, str]:
        return torch.tanh(self.left(x)), torch.tanh(self.right(x)), "constant"


class Mapped(nn.Module):
    """A block that returns a dataclass within a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> dict[str, Outputs]:
        hidden = torch.tanh(self.layer(x))
        return {"found": Outputs(hidden, hidden * 2)}


class AfterPair(nn.Module):
    def __init__(self, right: int) -> None:
        super().__init__()
        self.first = Pair(right)
        self.head = nn.Linear(8 + right, 4)

    def forward(self, x: Tensor) -> Tensor:
        a, b, _ = self.first(x)
        return self.head(torch.cat([a, b], 1))


class AfterMapped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = Mapped()
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        found = self.first(x)["found"]
        return self.head(found.a * found.b)


SIZES = dict.fromkeys(
    (DirectKolenPollack, ErrorBroadcastDecorrelation),
    "blocks must return tensors of the same size in every pass",
)


def two_heads(name: str, container: Callable[..., Any], logits: Callable[[Any], Any]) -> Case:
    return Case(
        f"{name}-output",
        lambda: TwoHeads(container),
        blocks=["trunk.*", "heads"],
        logits=logits,
        several=True,
    )


def by_goodness() -> nn.Module:
    hidden = [nn.Sequential(nn.Linear(8, 8), nn.ReLU()) for _ in range(3)]
    return bp.GoodnessNetwork(hidden, bp.FirstPixels(CLASSES))


CASES = [
    two_heads("tuple", as_tuple, list),
    two_heads("list", as_list, list),
    two_heads("namedtuple", Named, list),
    two_heads("dict", as_dict, lambda out: list(out.values())),
    two_heads("dataclass", Outputs, lambda out: [out.a, out.b]),
    two_heads("nested", as_nest, lambda out: [out["heads"][0], out["heads"][1][0]]),
    Case("tuple-block", lambda: AfterPair(8), blocks=["first", "head"]),
    Case("uneven-tuple-block", lambda: AfterPair(3), blocks=["first", "head"], refused=SIZES),
    Case(
        "goodness",
        by_goodness,
        blocks=["blocks.*"],
        refused=dict.fromkeys(
            (DirectRule, LearnedDirectFeedback, LocalLoss, "lfg"), "cannot teach a block"
        ),
    ),
    Case("mapping-block", AfterMapped, blocks=["first", "head"]),
]
