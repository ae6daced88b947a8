"""Attention modules that are narrower or grouped, unlike the teacher's own class."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from beyondprop.errors import UserError


class NarrowAttention(nn.Module):
    """Called like `nn.MultiheadAttention`, but its heads need not fill the full width together.

    Args:
        query: Maps inputs to the heads' queries, concatenated by head.
        key: Maps inputs to the heads' keys.
        value: Maps inputs to the heads' values.
        outward: Maps all heads to the output.
        heads: The number of heads.
        dropout: The share of attention weights that are dropped in training.
        batch_first: Whether inputs are (batch, tokens, features), not (tokens, batch, features).
    """

    # PyTorch's transformers read this attribute to decide whether to use a fused kernel.
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
        """Return the output, and the attention weights if requested.

        Raises:
            UserError: There is one mask for each head; those masks are of the original heads.
        """
        del is_causal  # only a hint about the mask
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
        """Return (batch, tokens, features) as (batch, heads, tokens, width)."""
        out: Tensor = x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return out


class GroupedAttention(nn.Module):
    """Self-attention in which several heads share keys and values.

    Ainslie et al., "GQA: training generalized multi-query transformer models from multi-head
    checkpoints", EMNLP 2023.

    Args:
        query: Maps inputs to the heads' queries, concatenated by head.
        key: Maps inputs to the groups' keys.
        value: Maps inputs to the groups' values.
        outward: Maps all heads to the output.
        heads: The number of heads.
        groups: The number of groups of consecutive heads.
        causal: Whether a token attends only to itself and earlier tokens.
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
        """Return the output, (batch, tokens, width), of an input of the same shape."""
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
    """Return PyTorch's masks as one term added to scores (batch, heads, queries, keys)."""
    if mask is not None and mask.dim() != 2:
        raise UserError(
            "an attention with fewer heads takes one mask (queries, keys), not one for each "
            "original head"
        )
    parts = [] if mask is None else [_added(mask, like)]
    parts += [] if padding is None else [_added(padding, like)[:, None, None]]
    if len(parts) == 2:
        return parts[0] + parts[1]
    return parts[0] if parts else None


def _added(mask: Tensor, like: Tensor) -> Tensor:
    """Return a mask as numbers to add to scores; True means that a key is left out."""
    if mask.dtype != torch.bool:
        return mask.to(like.dtype)
    return torch.zeros(mask.shape, dtype=like.dtype, device=like.device).masked_fill(
        mask, -math.inf
    )
