"""Attention in forms that a teacher's own class does not have: narrower, or in groups."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from beyondprop.errors import UserError


class NarrowAttention(nn.Module):
    """Called as `nn.MultiheadAttention`, whose heads always fill the whole width together.

    Args:
        query: To the heads' queries, one head behind another.
        key: To their keys.
        value: To their values.
        outward: From all heads to the output.
        heads: How many.
        dropout: Share of the weights of attention that are dropped in training.
        batch_first: Whether inputs are (batch, tokens, features), not (tokens, batch, features).
    """

    # Transformers of PyTorch read this to see whether a fused kernel can take their weights.
    in_proj_bias: Tensor | None = None

    def __init__(
        self,
        query: nn.Linear,
        key: nn.Linear,
        value: nn.Linear,
        outward: nn.Linear,
        heads: int,
        dropout: float,
        batch_first: bool,
    ) -> None:
        super().__init__()
        self.query, self.key, self.value, self.outward = query, key, value, outward
        self.heads, self.dropout, self.batch_first = heads, dropout, batch_first

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the output, and the weights of attention where they are asked for.

        Raises:
            UserError: There is a mask for each head: these heads are others.
        """
        del is_causal  # says of the mask what it holds
        if not self.batch_first:
            query, key, value = (each.transpose(0, 1) for each in (query, key, value))
        q = self._heads(self.query(query))
        k, v = self._heads(self.key(key)), self._heads(self.value(value))
        mask = _mask(attn_mask, key_padding_mask, q)
        chance = self.dropout if self.training else 0.0
        weights: Tensor | None = None
        if need_weights:
            scores = q @ k.mT / math.sqrt(q.shape[-1])  # (batch, heads, queries, keys)
            weights = F.dropout((scores if mask is None else scores + mask).softmax(-1), chance)
            found = weights @ v
            weights = weights.mean(1) if average_attn_weights else weights
        else:
            found = F.scaled_dot_product_attention(q, k, v, mask, chance)
        out = self.outward(found.transpose(1, 2).flatten(2))  # (batch, queries, features)
        return (out if self.batch_first else out.transpose(0, 1)), weights

    def _heads(self, x: Tensor) -> Tensor:
        """(batch, tokens, features) to (batch, heads, tokens, width)."""
        out: Tensor = x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return out


class GroupedAttention(nn.Module):
    """Attention of tokens to one another in which several heads share keys and values.

    Ainslie et al., "GQA: training generalized multi-query transformer models from multi-head
    checkpoints", EMNLP 2023.

    Args:
        query: To the heads' queries, one head behind another.
        key: To the groups' keys.
        value: To the groups' values.
        outward: From all heads to the output.
        heads: How many.
        groups: How many, of heads that follow one another.
        causal: Whether a token sees only those before it.
    """

    def __init__(
        self,
        query: nn.Linear,
        key: nn.Linear,
        value: nn.Linear,
        outward: nn.Linear,
        heads: int,
        groups: int,
        causal: bool,
    ) -> None:
        super().__init__()
        self.query, self.key, self.value, self.outward = query, key, value, outward
        self.heads, self.groups, self.causal = heads, groups, causal

    def forward(self, x: Tensor) -> Tensor:
        """(batch, tokens, width) to the same."""
        query = self.query(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        key, value = (
            layer(x).unflatten(-1, (self.groups, -1)).transpose(1, 2)
            for layer in (self.key, self.value)
        )  # (batch, groups, tokens, w)
        found = F.scaled_dot_product_attention(
            query, key, value, is_causal=self.causal, enable_gqa=True
        )  # (batch, heads, tokens, w)
        out: Tensor = self.outward(found.transpose(1, 2).flatten(2))
        return out


def _mask(mask: Tensor | None, padding: Tensor | None, like: Tensor) -> Tensor | None:
    """Return what is added to scores (batch, heads, queries, keys), from masks as PyTorch's."""
    if mask is not None and mask.dim() != 2:
        raise UserError(
            "an attention with fewer heads takes a mask (queries, keys), not one for each of the "
            "heads that were there before"
        )
    parts = [] if mask is None else [_added(mask, like)]
    parts += [] if padding is None else [_added(padding, like)[:, None, None]]
    if len(parts) == 2:
        return parts[0] + parts[1]
    return parts[0] if parts else None


def _added(mask: Tensor, like: Tensor) -> Tensor:
    """Return a mask as numbers that are added; True leaves out."""
    if mask.dtype != torch.bool:
        return mask.to(like.dtype)
    return torch.zeros(mask.shape, dtype=like.dtype, device=like.device).masked_fill(
        mask, -math.inf
    )
