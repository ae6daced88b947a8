"""The piece left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from beyondprop.errors import UserError
from beyondprop.neighbourhoods.calls import Call
from beyondprop.neighbourhoods.candidates.base import Candidate
from beyondprop.neighbourhoods.candidates.first import ends, standing


@dataclass(frozen=True)
class Identity(Candidate):
    """Nothing at all: what comes in goes out, where both have one shape.

    Of several tensors that come in, the first goes out. It has no parameters: nothing is trained.
    """

    name: ClassVar[str] = "identity"

    def build(self, piece: nn.Module, call: Call) -> nn.Module:
        """Return a module that returns its input."""
        before, after = ends(self.name, call)
        if (before.shape, before.dtype) != (after.shape, after.dtype):
            raise UserError(
                f"'identity' needs an output of the input's shape and dtype: the piece makes "
                f"{tuple(after.shape)} of {after.dtype} from {tuple(before.shape)} of "
                f"{before.dtype}"
            )
        return standing(nn.Identity(), call).train(piece.training)
