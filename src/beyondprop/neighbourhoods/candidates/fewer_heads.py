"""Attention with fewer heads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from beyondprop._torch.modules import learning_copy
from beyondprop.errors import UserError
from beyondprop.neighbourhoods.calls import Call
from beyondprop.neighbourhoods.candidates.base import Candidate
from beyondprop.neighbourhoods.candidates.heads import Kind, kind_of
from beyondprop.neighbourhoods.candidates.students import exchanged, fitting
from beyondprop.registry import check_fields
from beyondprop.registry.limits import Count, PositiveShare


@dataclass(frozen=True)
class FewerHeads(Candidate):
    """Keeps the most important heads of each attention, with the teacher's weights.

    A head's importance is the norm of the product of its value and output projections. Heads that
    share keys and values are kept or removed together. Supported are `nn.MultiheadAttention` (alone
    and in PyTorch's transformers), `beyondprop.models.transformer.Attention`, and Hugging Face's
    attention of GPT-2 and of Llama and its relatives.

    Args:
        share: The share of heads to keep.
        heads: The number of heads to keep, instead of a share.
    """

    name: ClassVar[str] = "fewer-heads"
    share: PositiveShare = 0.5
    heads: Count | None = None

    def __post_init__(self) -> None:
        check_fields(self)

    def build(self, piece: nn.Module, call: Call) -> nn.Module:
        """Return a copy of the piece whose attention has fewer heads."""
        student, count = exchanged(learning_copy(piece), self._narrower)
        if not count:
            asked = f"{self.heads} heads" if self.heads else f"a share of {self.share}"
            raise UserError(
                f"'fewer-heads' with {asked} finds nothing to remove from the "
                f"{type(piece).__name__}: it looks for attention with more heads of PyTorch, "
                "beyondprop.models.transformer, GPT-2 or Llama's kind"
            )
        return fitting(self.name, student, call)

    def _narrower(self, module: nn.Module) -> nn.Module | None:
        kind = kind_of(module)
        if kind is None:
            return None
        groups, kept = kind.heads(module) // kind.together(module), self._kept(kind, module)
        if kept >= groups:
            return None
        strengths = kind.strengths(module).unflatten(0, (groups, -1)).square().sum(1)
        best = strengths.argsort(descending=True, stable=True)[:kept].sort().values
        return kind.keep(module, best)

    def _kept(self, kind: Kind, module: nn.Module) -> int:
        """Return the number of kept groups of heads that share keys and values."""
        heads, together = kind.heads(module), kind.together(module)
        if self.heads is None:
            return max(1, round(self.share * (heads // together)))
        if self.heads % together:
            raise UserError(
                f"'fewer-heads' cannot keep {self.heads} heads of {heads}: each {together} share "
                "keys and values and are kept together"
            )
        return self.heads // together
