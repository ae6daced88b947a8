"""Attention whose heads share keys and values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from beyondprop._torch.modules import learning_copy
from beyondprop.errors import UserError
from beyondprop.neighbourhoods.calls import Call
from beyondprop.neighbourhoods.candidates.attention import GroupedAttention
from beyondprop.neighbourhoods.candidates.base import Candidate
from beyondprop.neighbourhoods.candidates.heads import Kind, Llama, Own, affine, tell
from beyondprop.neighbourhoods.candidates.students import exchanged, fitting, written
from beyondprop.registry import check_fields
from beyondprop.registry.limits import Count

OWN: Kind = Own()
LLAMA: Kind = Llama()


@dataclass(frozen=True)
class GroupedQuery(Candidate):
    """Groups of heads share keys and values, which start as the means of the teacher's.

    Supported are `beyondprop.models.transformer.Attention`, and Hugging Face's attention of Llama
    and its relatives, which has `num_key_value_groups`. Other attention is not changed.

    Ainslie et al., "GQA: training generalized multi-query transformer models from multi-head
    checkpoints", EMNLP 2023.

    Args:
        groups: The number of groups, a divisor of the number of heads; 1 is multi-query attention.
    """

    name: ClassVar[str] = "grouped-query"
    groups: Count = 1

    def __post_init__(self) -> None:
        check_fields(self)

    def build(self, piece: nn.Module, call: Call) -> nn.Module:
        """Return a copy of the piece whose attention is grouped."""
        student, count = exchanged(learning_copy(piece), self._in_groups)
        if not count:
            raise UserError(
                f"'grouped-query' with {self.groups} groups finds nothing to share in the "
                f"{type(piece).__name__}: it looks for attention with more keys and values of "
                "beyondprop.models.transformer or Llama's kind (with num_key_value_groups)"
            )
        return fitting(self.name, student, call)

    def _in_groups(self, module: nn.Module) -> nn.Module | None:
        kind = next((kind for kind in (OWN, LLAMA) if kind.fits(module)), None)
        if kind is None:
            return None
        pairs = kind.heads(module) // kind.together(module)
        if pairs <= self.groups:
            return None
        if pairs % self.groups:
            raise UserError(
                f"'grouped-query' cannot divide keys and values of {pairs} heads into "
                f"{self.groups} groups of equal size"
            )
        make = _grouped if kind is OWN else _regrouped
        return make(module, self.groups)


def _grouped(module: Any, groups: int) -> nn.Module:
    """Return a grouped attention with the weights of a `beyondprop.models.transformer.Attention`.

    Its keys and values are means of the original ones.
    """
    parts = affine(module.inward).unflatten(0, (3, module.heads, -1))  # (3, heads, w, inputs + 1)
    query = _linear(module.inward, parts[0].flatten(0, 1))
    key, value = (_linear(module.inward, _means(part, groups)) for part in parts[1:])
    return GroupedAttention(query, key, value, module.outward, module.heads, groups, module.causal)


def _regrouped(module: Any, groups: int) -> nn.Module:
    """Return an attention of Llama's kind whose keys and values are shared by more heads."""
    heads = LLAMA.heads(module)
    for name in ("k_proj", "v_proj"):
        layer = getattr(module, name)
        both = affine(layer).unflatten(0, (-1, module.head_dim))  # (pairs, w, inputs + 1)
        setattr(module, name, _linear(layer, _means(both, groups)))
    module.num_key_value_groups = heads // groups
    tell(module, ("num_key_value_heads",), groups)
    changed: nn.Module = module
    return changed


def _means(parts: Tensor, groups: int) -> Tensor:
    """Return the means of (heads, width, inputs) over groups, (groups × width, inputs)."""
    means: Tensor = parts.unflatten(0, (groups, -1)).mean(1)
    return means.flatten(0, 1)


def _linear(layer: nn.Linear, both: Tensor) -> nn.Linear:
    """Return a layer with these weights, whose last column is the bias, if the layer has one."""
    has = layer.bias is not None
    made = nn.Linear(both.shape[1] - 1, len(both), bias=has, device="meta")
    written(made, layer, weight=both[:, :-1], offset=both[:, -1] if has else None)
    return made
