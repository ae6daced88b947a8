"""Stand-ins that replace a neighbourhood, to check whether another module could."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from beyondprop._torch.pytrees import leaves, replaced


class StandIn(nn.Module):
    """Returns a piece's outputs, but hides everything of it that a student need not have.

    A model that uses the piece's weights, modules or methods fails. Plain values, such as numbers
    and names, can be read, including those of inner modules.

    Args:
        piece: The piece that computes the outputs.
        change: Is applied to each output.

    Attributes:
        called: The number of calls.
        read: The names of the values that were read, such as ``self_attn.batch_first``.
    """

    def __init__(self, piece: nn.Module, change: Callable[[Any], Any]) -> None:
        super().__init__()
        self.held = (piece,)  # in a tuple, so that it is not registered as a module
        self.change = change
        self.called = 0
        self.read: set[str] = set()
        self.eval()

    def forward(self, *arguments: Any, **keywords: Any) -> Any:
        """Return the piece's changed output."""
        self.called += 1
        (piece,) = self.held
        return self.change(piece(*arguments, **keywords))

    def __getattr__(self, name: str) -> Any:
        (piece,) = self.__dict__["held"]
        return value_of(piece, name, "", self.read)


@dataclass(frozen=True)
class Values:
    """The plain values of a module inside the piece.

    Attributes:
        module: The module that has the values.
        path: Its name in the piece, with a dot.
        read: The names of values that were read.
    """

    module: nn.Module
    path: str
    read: set[str]

    def __getattr__(self, name: str) -> Any:
        return value_of(self.module, name, self.path, self.read)


def value_of(module: nn.Module, name: str, path: str, read: set[str]) -> Any:
    """Return a plain value of a module, or the values of an inner module.

    Raises:
        AttributeError: There is no value of this name, or it is not a plain value.
    """
    value = getattr(module, name)
    if isinstance(value, nn.Module):
        return Values(value, f"{path}{name}.", read)
    if callable(value) or next(leaves(value), None) is not None:
        raise AttributeError(f"it uses '{path}{name}'")
    read.add(f"{path}{name}")
    return value


def unchanged(answer: Any) -> Any:
    """Return an output unchanged."""
    return answer


def disturbed(answer: Any) -> Any:
    """Return an output with added noise of the same magnitude."""
    generator = torch.Generator().manual_seed(0)

    def noisy(x: Tensor) -> Tensor:
        if not x.is_floating_point():
            return x
        noise = torch.randn(x.shape, generator=generator).to(x)
        return x + noise * (1 + x.detach().nan_to_num(0, 0, 0).abs().amax())

    return replaced(answer, noisy)
