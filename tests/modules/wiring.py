"""Models that are wired in other ways than one module after another."""

import torch
from torch import Tensor, nn

from beyondprop.rules import (
    DirectRule,
    ForwardGradient,
    LearnedDirectFeedback,
    LocalLoss,
)

from .case import Case

ROWS = "cannot teach a block whose output has shape"
SENT = {DirectRule: ROWS, LearnedDirectFeedback: ROWS}
"""Rules that send signals row by row, and what they say where a block has other rows."""

OF_ROWS = SENT | {LocalLoss: ROWS, "lfg": ROWS}
"""The same where local losses find no target for a row either."""

FORWARD_MODE = {ForwardGradient: "which PyTorch does not support for an operation of this model"}
"""Where PyTorch has no derivative in forward mode."""


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


class DetachedPart(NoGradPart):
    """A part that nothing can teach, as its output is detached."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.layer(self.fixed(x).detach())))


class LateParameter(nn.Module):
    """A parameter that lies in no module, added between blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.offset = nn.Parameter(torch.zeros(8))
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.first(x) + self.offset))


class Branches(nn.Module):
    """Which of two blocks runs depends on the mode or on the numbers in the batch."""

    def __init__(self, on_data: bool) -> None:
        super().__init__()
        self.on_data = on_data
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        first = bool(x[0, 0] > 0) if self.on_data else self.training
        return self.head(torch.tanh(self.first(x) if first else self.second(x)))


class Gated(nn.Module):
    """A mixture of experts, weighted by softmax gates."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleDict({n: nn.Linear(8, 8) for n in ("one", "two", "three")})
        self.gate = nn.Sequential(nn.Linear(8, 3), nn.Softmax(1))
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        opinions = torch.stack([expert(x) for expert in self.experts.values()], 1)
        return self.head(torch.tanh((self.gate(x).unsqueeze(-1) * opinions).sum(1)))


class Routed(nn.Module):
    """Every sample goes through one expert alone, so blocks see parts of the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList(nn.Linear(8, 8) for _ in range(2))
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        parts = [torch.tanh(expert(x[start::2])) for start, expert in enumerate(self.experts)]
        return self.head(torch.stack(parts, 1).flatten(0, 1))


THREE = ["first", "second", "head"]
CASES = [
    Case("residual", Residual, blocks=["stem", "layers.*", "head"]),
    Case("dense", Dense, blocks=["layers.*", "head"]),
    Case("reuse", Reuse, blocks=["shared", "head"]),
    Case("unused-branch", UnusedBranch, blocks=["used", "unused", "head"]),
    Case("no-grad-part", NoGradPart, blocks=["fixed", "layer", "head"]),
    Case("detached-part", DetachedPart, blocks=["fixed", "layer", "head"]),
    Case("late-parameter", LateParameter, blocks=["first", "head"], backprop=["offset"]),
    Case("branch-on-mode", lambda: Branches(False), blocks=THREE),
    Case("branch-on-data", lambda: Branches(True), blocks=THREE),
    Case("gated", Gated, blocks=["experts.*", "gate", "head"]),
    Case("routed", Routed, blocks=["experts.*", "head"], refused=OF_ROWS),
]
