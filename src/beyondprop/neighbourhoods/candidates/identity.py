"""Leaves the piece out."""

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
    """Returns its input unchanged, if the piece's output has the input's shape.

    If there are several input tensors, it returns the first. It has no parameters to train.
    """

    name: ClassVar[str] = "identity"

    def build(self, piece: nn.Module, call: Call) -> nn.Module:
        """Return a module that returns its input."""
        before, after = ends(self.name, call)
        if (before.shape, before.dtype) != (after.shape, after.dtype):
            raise UserError(
                f"'identity' needs an output of the input's shape and dtype: the piece returns "
                f"{tuple(after.shape)} of {after.dtype} from {tuple(before.shape)} of "
                f"{before.dtype}"
            )
        return standing(nn.Identity(), call).train(piece.training)
