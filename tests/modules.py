"""Awkward architectures, each small, each with the blocks to name where there is no default."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Case:
    """A module to attach to: how to build it, its blocks, its input and its class outputs.

    `logits` picks the class outputs, shape (batch, classes), from what the module returns.
    """

    name: str
    build: Callable[[], nn.Module]
    inputs: tuple[int, ...] = (6, 8)
    blocks: Sequence[str] | None = None
    logits: Callable[[Any], Sequence[Tensor]] = lambda out: [out]
    operations: bool = True  # whether every layer is one the operation rules cover


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(8, 8)
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for layer in self.layers:
            x = x + torch.tanh(layer(x))
        return self.head(x)


class Dense(nn.Module):
    """Every layer sees all outputs before it."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8 * (i + 1), 8) for i in range(3))
        self.head = nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        seen = [x]
        for layer in self.layers:
            seen.append(torch.tanh(layer(torch.cat(seen, 1))))
        return self.head(torch.cat(seen, 1))


class Reuse(nn.Module):
    """One layer used three times."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Sequential(nn.Linear(8, 8), nn.Tanh())
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(3):
            x = self.shared(x)
        return self.head(x)


def shared_activation() -> nn.Module:
    act = nn.Tanh()
    return nn.Sequential(nn.Linear(8, 7), act, nn.Linear(7, 6), act, nn.Linear(6, 4), act)


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


def as_dict(a: Tensor, b: Tensor) -> dict[str, Tensor]:
    return {"a": a, "b": b}


@dataclass
class Outputs:
    a: Tensor
    b: Tensor


def as_dataclass(a: Tensor, b: Tensor) -> Outputs:
    return Outputs(a, b)


class UnusedBranch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used = nn.Linear(8, 8)
        self.unused = nn.Linear(8, 8)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.used(x)))


class NoGradPart(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fixed = nn.Linear(8, 8)
        self.layer = nn.Linear(8, 8)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            x = torch.relu(self.fixed(x))
        return self.head(torch.relu(self.layer(x)))


class Tuples(nn.Module):
    """A block that returns a tuple and a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.first = Pair()
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        a, b, _ = self.first(x)
        return self.head(a * b)


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Linear(8, 8)
        self.right = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, str]:
        return torch.tanh(self.left(x)), torch.tanh(self.right(x)), "constant"


class LateParameter(nn.Module):
    """A parameter that lies in no module, added between blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.offset = nn.Parameter(torch.zeros(8))
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.first(x) + self.offset))


def frozen_part() -> nn.Module:
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))
    model[0].requires_grad_(False)
    return model


def convnet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 6, 3, stride=2, groups=2, bias=False),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(24, 4),
    )


def named(**blocks: Any) -> Mapping[str, Any]:
    return blocks


CASES = [
    Case(
        "mlp",
        lambda: nn.Sequential(
            nn.Linear(8, 7), nn.ReLU(), nn.Linear(7, 6), nn.Tanh(), nn.Linear(6, 4)
        ),
    ),
    Case(
        "flatten",
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(8, 6), nn.Sigmoid(), nn.Linear(6, 4)),
        inputs=(6, 2, 4),
    ),
    Case(
        "equal-widths",
        lambda: nn.Sequential(
            *[part for _ in range(4) for part in (nn.Linear(8, 8), nn.ReLU())], nn.Linear(8, 4)
        ),
    ),
    Case(
        "no-bias",
        lambda: nn.Sequential(
            nn.Linear(8, 8, bias=False),
            nn.Tanh(),
            nn.Linear(8, 8, bias=False),
            nn.Linear(8, 4, bias=False),
        ),
    ),
    Case(
        "norms",
        lambda: nn.Sequential(
            nn.Linear(8, 6),
            nn.LayerNorm(6),
            nn.GELU(),
            nn.Linear(6, 6),
            nn.BatchNorm1d(6),
            nn.ReLU(),
            nn.Linear(6, 4),
        ),
    ),
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
    Case("one-block", lambda: nn.Sequential(nn.Linear(8, 4))),
    Case(
        "nested",
        lambda: nn.Sequential(
            nn.Sequential(nn.Linear(8, 6), nn.ReLU()),
            nn.Sequential(nn.Linear(6, 6), nn.ReLU()),
            nn.Linear(6, 4),
        ),
    ),
    Case("shared-activation", shared_activation),
    Case("frozen-part", frozen_part),
    Case("convnet", convnet, inputs=(6, 2, 8, 8)),
    Case("residual", Residual, blocks=["stem", "layers.*", "head"]),
    Case("dense", Dense, blocks=["layers.*", "head"]),
    Case("reuse", Reuse, blocks=["shared", "head"]),
    Case("unused-branch", UnusedBranch, blocks=["used", "unused", "head"]),
    Case("no-grad-part", NoGradPart, blocks=["fixed", "layer", "head"]),
    Case("tuple-block", Tuples, blocks=["first", "head"]),
    Case(
        "tuple-output",
        lambda: TwoHeads(as_tuple),
        blocks=["trunk.*", "heads"],
        logits=lambda out: list(out),
    ),
    Case(
        "dict-output",
        lambda: TwoHeads(as_dict),
        blocks=["trunk.*", "heads"],
        logits=lambda out: list(out.values()),
    ),
    Case(
        "dataclass-output",
        lambda: TwoHeads(as_dataclass),
        blocks=["trunk.*", "heads"],
        logits=lambda out: [out.a, out.b],
    ),
]
