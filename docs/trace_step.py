"""Count the calls of the library's own functions in one training step, and show them in order.

    python docs/trace_step.py            # print the trace
    python docs/trace_step.py --write    # put it into docs/architecture.md

The module is three linear layers, 64-512-512-10, named as three blocks; the batch has 256 rows. It
has run before, so that matrices are drawn and heads have their shapes.
"""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import beyondprop as bp
from beyondprop.core import Rule

PACKAGE = Path(bp.__file__).parent
PAGE = Path(__file__).with_name("architecture.md")
BEGIN, END = "<!-- trace -->", "<!-- end of trace -->"
RULES = (bp.DirectFeedbackAlignment(), bp.LocalLoss(bp.CrossEntropy()))


class ThreeLayers(nn.Module):
    """Three linear layers that are no chain, so that the engine sees them by hooks."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 512)
        self.second = nn.Linear(512, 512)
        self.last = nn.Linear(512, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, (batch, 10)."""
        logits: Tensor = self.last(self.second(self.first(x)))
        return logits


@dataclass(frozen=True)
class Call:
    """A call of one of the library's functions.

    Attributes:
        file: The module's path in the package.
        function: The function's qualified name.
    """

    file: str
    function: str


@dataclass(frozen=True)
class Trace:
    """The calls in one half of a step.

    Attributes:
        rule: Class name of the rule.
        half: "forward" or "backward".
        calls: In order.
    """

    rule: str
    half: str
    calls: tuple[Call, ...]

    @property
    def files(self) -> set[str]:
        """The files in which the functions are."""
        return {call.file for call in self.calls}

    def __str__(self) -> str:
        lines = [f"{self.rule}, {self.half}: {len(self.calls)} calls in {len(self.files)} files"]
        width = max(map(len, self.files))
        for file, calls in groupby(self.calls, lambda call: call.file):
            functions = ", ".join(call.function for call in calls)
            lines.append(f"  {file:<{width}}  {functions}")
        return "\n".join(lines)


def calls_of(function: Callable[[], Any]) -> tuple[Call, ...]:
    """Return the calls of the library's functions while ``function`` runs."""
    calls = []

    def see(frame: FrameType, event: str, _: Any) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(PACKAGE):
            calls.append(Call(path.relative_to(PACKAGE).as_posix(), frame.f_code.co_qualname))

    before = sys.getprofile()
    sys.setprofile(see)
    try:
        function()
    finally:
        sys.setprofile(before)
    return tuple(calls)


def traced_step(rule: Rule) -> tuple[Trace, Trace]:
    """Return the traces of the forward and the backward pass of one step under a rule."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = ThreeLayers()
        x, y = torch.randn(256, 64), torch.randint(10, (256,))
    handle = bp.attach(model, rule, ["first", "second", "last"])
    optimizer = torch.optim.SGD([*model.parameters(), *handle.parameters()], lr=0.1)
    losses: list[Tensor] = []

    def forward() -> None:
        losses.append(F.cross_entropy(model(x), y))

    with handle.targets(y):
        for _ in range(3):
            optimizer.zero_grad()
            forward()
            losses[-1].backward()
            optimizer.step()
        optimizer.zero_grad()
        name = type(rule).__name__
        return (
            Trace(name, "forward", calls_of(forward)),
            Trace(name, "backward", calls_of(losses[-1].backward)),
        )


def shown() -> str:
    """Return the traces of all rules as text."""
    return "\n\n".join(str(trace) for rule in RULES for trace in traced_step(rule))


def on_page() -> str:
    """Return the trace that the page shows."""
    found = re.search(rf"{BEGIN}\n\n```text\n(.*?)\n```\n\n{END}", PAGE.read_text("utf-8"), re.S)
    return found[1] if found else ""


def write() -> None:
    """Put the trace into the page."""
    block = f"{BEGIN}\n\n```text\n{shown()}\n```\n\n{END}"
    text = PAGE.read_text("utf-8")
    PAGE.write_text(re.sub(rf"{BEGIN}.*?{END}", lambda _: block, text, flags=re.S), "utf-8")


if __name__ == "__main__":
    write() if "--write" in sys.argv[1:] else print(shown())
