"""The piece once more: the reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from beyondprop._torch.modules import learning_copy
from beyondprop.neighbourhoods.calls import Call
from beyondprop.neighbourhoods.candidates.base import Candidate


@dataclass(frozen=True)
class Copy(Candidate):
    """The piece as it is: the reference, and what an assembly keeps of the teacher."""

    name: ClassVar[str] = "copy"

    def build(self, piece: nn.Module, call: Call) -> nn.Module:
        """Return a copy of the piece."""
        del call
        return learning_copy(piece)
