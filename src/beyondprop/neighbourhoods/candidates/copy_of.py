"""A copy of the piece: the reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from beyondprop._torch.modules import learning_copy
from beyondprop.neighbourhoods.calls import Call
from beyondprop.neighbourhoods.candidates.base import Candidate


@dataclass(frozen=True)
class Copy(Candidate):
    """An unchanged copy of the piece: the reference for other candidates."""

    name: ClassVar[str] = "copy"

    def build(self, piece: nn.Module, call: Call) -> nn.Module:
        """Return a copy of the piece."""
        del call
        return learning_copy(piece)
