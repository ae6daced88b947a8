"""Candidates and data for tests, which pickle by name."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from beyondprop.errors import UserError
from beyondprop.neighbourhoods import Call, Candidate


@dataclass(frozen=True)
class Same(Candidate):
    """The teacher's piece, initialised again unless it must be kept."""

    name: ClassVar[str] = "same"
    kept: bool = True

    def build(self, piece: nn.Module, call: Call) -> nn.Module:
        """Return a copy."""
        del call
        made = copy.deepcopy(piece)
        if not self.kept:
            torch.manual_seed(5)
            for module in made.modules():
                if isinstance(module, nn.Linear):
                    module.reset_parameters()
        return made


@dataclass(frozen=True)
class Linear(Candidate):
    """One linear layer."""

    name: ClassVar[str] = "line"

    def build(self, piece: nn.Module, call: Call) -> nn.Module:
        """Return it."""
        del piece
        torch.manual_seed(5)
        return nn.Linear(call.inputs[0].shape[-1], call.outputs[0].shape[-1])


@dataclass(frozen=True)
class Refusing(Candidate):
    """Fits nothing."""

    name: ClassVar[str] = "refusing"

    def build(self, piece: nn.Module, call: Call) -> nn.Module:
        """Raise an error."""
        raise UserError(f"there is no such student of {len(call.inputs)} inputs, {type(piece)}")


def teacher() -> nn.Sequential:
    torch.manual_seed(0)
    first = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 4))
    second = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 4))
    return nn.Sequential(first, second, nn.Linear(4, 2)).eval()


def batches(count: int = 8, seed: int = 1) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(16, 3, generator=generator) for _ in range(count)]
