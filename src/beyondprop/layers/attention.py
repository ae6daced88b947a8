"""Multi-head attention whose projections have a modified backward pass."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beyondprop.layers.feedback import AtWeights, autocast, feedback, taught
from beyondprop.layers.linear import LinearFeedback, linear

SEPARATE = ("q_proj_weight", "k_proj_weight", "v_proj_weight")


class FeedbackMultiheadAttention(nn.MultiheadAttention):
    """Attention under a `LayerRule`; made by swapping the class of a plain one.

    This class applies the rule to the packed projection (or the three separate ones); `out_proj` is
    covered as a linear layer. Between them no weight carries the error, so that part stays exact.
    """

    _feedback: AtWeights

    @staticmethod
    def inputs_of(layer: Any) -> dict[str, int]:
        """Return the number of inputs that an output sums over, by weight."""
        if layer.kdim == layer.vdim == layer.embed_dim:
            return {"in_proj_weight": layer.embed_dim}
        return dict(zip(SEPARATE, (layer.embed_dim, layer.kdim, layer.vdim), strict=True))

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
        """Compute the layer's output (see `nn.MultiheadAttention`)."""
        if not taught(self, query):
            return super().forward(
                query,
                key,
                value,
                key_padding_mask,
                need_weights,
                attn_mask,
                average_attn_weights,
                is_causal,
            )
        if is_causal and attn_mask is None:
            raise RuntimeError("is_causal is a hint about attn_mask: give the mask too")
        batched, first = query.dim() == 3, self.batch_first
        q, k, v = (
            x.unsqueeze(0) if not batched else x if first else x.transpose(0, 1)
            for x in self._projected(query, key, value)
        )
        # If the plain layer uses the hint, it ignores the mask.
        hint = is_causal and key_padding_mask is None and not need_weights
        mask = None if hint else _mask(attn_mask, key_padding_mask, q, self.num_heads)
        k, v, mask = self._extended(k, v, mask)
        q, k, v = (x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for x in (q, k, v))
        dropout = self.dropout * self.training
        mixed, weights = _attend(q, k, v, mask, dropout, need_weights, hint)
        output = mixed.transpose(1, 2).flatten(2)
        output = output.squeeze(0) if not batched else output if first else output.transpose(0, 1)
        if weights is not None:
            weights = weights.mean(1) if average_attn_weights else weights
            weights = weights if batched else weights.squeeze(0)
        return self.out_proj(output), weights

    def _projected(self: Any, query: Tensor, key: Tensor, value: Tensor) -> list[Tensor]:
        """Return queries, keys and values; self-attention projects all three in one product."""
        packed, bias = self.in_proj_weight, self.in_proj_bias
        at: AtWeights = self._feedback
        if packed is not None and query is key and key is value:
            return list(linear(query, packed, bias, at["in_proj_weight"]).chunk(3, -1))
        if packed is not None:
            (cast,) = autocast(packed)
            weights, matrices = cast.chunk(3), feedback(cast, at["in_proj_weight"]).chunk(3)
        else:
            weights = autocast(*(getattr(self, name) for name in SEPARATE))
            matrices = tuple(feedback(w, at[n]) for n, w in zip(SEPARATE, weights, strict=True))
        biases = [None] * 3 if bias is None else bias.chunk(3)
        inputs = (query, key, value)
        return [
            LinearFeedback.apply(*autocast(*parts), None)
            for parts in zip(inputs, weights, biases, matrices, strict=True)
        ]

    def _extended(
        self, k: Tensor, v: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Append the learned key and value, and the zero ones, if the layer has them."""
        for extra_k, extra_v in ((self.bias_k, self.bias_v), (self._zero(k), self._zero(v))):
            if extra_k is not None and extra_v is not None:
                k = torch.cat([k, extra_k.to(k.dtype).expand(len(k), 1, -1)], 1)
                v = torch.cat([v, extra_v.to(v.dtype).expand(len(v), 1, -1)], 1)
                mask = None if mask is None else F.pad(mask, (0, 1))
        return k, v, mask

    def _zero(self, like: Tensor) -> Tensor | None:
        return like.new_zeros(1, 1, like.shape[-1]) if self.add_zero_attn else None


def _mask(attention: Tensor | None, padding: Tensor | None, q: Tensor, heads: int) -> Tensor | None:
    """Return one additive mask, ``(batch or 1, heads or 1, queries, keys)``, from both."""
    found = None
    if attention is not None:
        found = _additive(attention, q)
        shape = (1, 1) if found.dim() == 2 else (len(q), heads)
        found = found.view(*shape, *found.shape[-2:])
    if padding is not None:
        keys = _additive(padding, q).view(-1, 1, 1, padding.shape[-1])
        found = keys if found is None else found + keys
    return found


def _additive(mask: Tensor, like: Tensor) -> Tensor:
    """Return a mask to add to scores; in a boolean mask, True excludes a position."""
    if mask.dtype != torch.bool:
        return mask.to(like.dtype)
    return torch.zeros_like(mask, dtype=like.dtype).masked_fill_(mask, -math.inf)


def _attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    dropout: float,
    need_weights: bool,
    causal: bool,
) -> tuple[Tensor, Tensor | None]:
    """Return the weighted values and, if requested, the attention weights."""
    if not need_weights:
        return F.scaled_dot_product_attention(q, k, v, mask, dropout, causal), None
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    weights = F.dropout((scores if mask is None else scores + mask).softmax(-1), dropout)
    return weights @ v, weights
