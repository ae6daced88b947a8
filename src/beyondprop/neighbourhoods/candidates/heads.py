"""One interface for attention of several libraries: its heads, and how to remove some."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from beyondprop.models.transformer import Attention
from beyondprop.neighbourhoods.candidates.attention import NarrowAttention
from beyondprop.neighbourhoods.candidates.layers import (
    bias,
    exact,
    is_linear,
    is_transposed,
    keep_inputs,
    keep_outputs,
    matrix,
    sizes,
)
from beyondprop.neighbourhoods.candidates.students import written


class Kind(ABC):
    """A kind of attention."""

    @abstractmethod
    def fits(self, module: nn.Module) -> bool:
        """Whether a module is of this kind."""

    @abstractmethod
    def heads(self, module: Any) -> int:
        """Return the number of heads."""

    def together(self, module: Any) -> int:
        """Return the number of heads that share keys and values, and are removed together."""
        del module
        return 1

    @abstractmethod
    def strengths(self, module: Any) -> Tensor:
        """Return the norm of the product of value and output projections for each head."""

    @abstractmethod
    def keep(self, module: Any, kept: Tensor) -> nn.Module:
        """Return the module with only some of its heads, or of its groups that share keys.

        The given module may be changed.
        """


class Own(Kind):
    """`beyondprop.models.transformer.Attention`."""

    def fits(self, module: nn.Module) -> bool:
        """Whether a module is one."""
        return type(module) is Attention

    def heads(self, module: Attention) -> int:
        """Return the number of heads."""
        return module.heads

    def strengths(self, module: Attention) -> Tensor:
        """Return the norm for each head."""
        value = affine(module.inward).unflatten(0, (3, -1))[2]
        return strengths(value, matrix(module.outward)[:, :, 0], module.heads)

    def keep(self, module: Attention, kept: Tensor) -> nn.Module:
        """Return the module with only some of its heads."""
        rows = places(kept, module.outward.in_features // module.heads)
        keep_outputs(module.inward, three(rows, module.outward.in_features))
        keep_inputs(module.outward, rows)
        module.heads = len(kept)
        return module


class Torch(Kind):
    """`nn.MultiheadAttention`, without biases that represent an additional token."""

    def fits(self, module: nn.Module) -> bool:
        """Whether a module is one."""
        return (
            type(module) is nn.MultiheadAttention
            and module.bias_k is None
            and not module.add_zero_attn
        )

    def heads(self, module: nn.MultiheadAttention) -> int:
        """Return the number of heads."""
        return int(module.num_heads)

    def strengths(self, module: nn.MultiheadAttention) -> Tensor:
        """Return the norm for each head."""
        (_, _, value), (_, _, offset) = inward(module)
        both = exact(value)
        if offset is not None:
            both = torch.cat([both, exact(offset)[:, None]], 1)
        return strengths(both, exact(module.out_proj.weight), module.num_heads)

    def keep(self, module: nn.MultiheadAttention, kept: Tensor) -> nn.Module:
        """Return a new module, as the heads of this class always fill its width together."""
        rows = places(kept, module.head_dim)
        query, key, value = (
            _linear(module.out_proj, weight[rows], None if offset is None else offset[rows])
            for weight, offset in zip(*inward(module), strict=True)
        )
        last = _linear(module.out_proj, module.out_proj.weight[:, rows], module.out_proj.bias)
        heads, dropout = len(kept), float(module.dropout)
        return NarrowAttention(query, key, value, last, heads, dropout, module.batch_first)


class GPT2(Kind):
    """Self-attention of Hugging Face's GPT-2."""

    def fits(self, module: Any) -> bool:
        """Whether a module has the layers and counts of one."""
        layers = (getattr(module, name, None) for name in ("c_attn", "c_proj"))
        counts = (getattr(module, name, None) for name in ("num_heads", "head_dim", "split_size"))
        return (
            all(isinstance(layer, nn.Module) and is_transposed(layer) for layer in layers)
            and all(isinstance(count, int) for count in counts)
            and sizes(module.c_attn)[0] == 3 * module.split_size
            and module.split_size == sizes(module.c_proj)[1] == module.num_heads * module.head_dim
        )

    def heads(self, module: Any) -> int:
        """Return the number of heads."""
        return int(module.num_heads)

    def strengths(self, module: Any) -> Tensor:
        """Return the norm for each head."""
        value = affine(module.c_attn).unflatten(0, (3, -1))[2]
        return strengths(value, matrix(module.c_proj)[:, :, 0], module.num_heads)

    def keep(self, module: Any, kept: Tensor) -> nn.Module:
        """Return the module with only some of its heads."""
        rows = places(kept, module.head_dim)
        keep_outputs(module.c_attn, three(rows, module.split_size))
        keep_inputs(module.c_proj, rows)
        module.num_heads, module.split_size = len(kept), len(rows)
        changed: nn.Module = module
        return changed


class Llama(Kind):
    """Attention of Hugging Face's Llama, Mistral, Qwen, Gemma and others."""

    def fits(self, module: Any) -> bool:
        """Whether a module has the layers and counts of one."""
        layers = [getattr(module, f"{name}_proj", None) for name in "qkvo"]
        counts = (getattr(module, name, None) for name in ("head_dim", "num_key_value_groups"))
        return (
            all(isinstance(layer, nn.Linear) and is_linear(layer) for layer in layers)
            and all(isinstance(count, int) for count in counts)
            and sizes(module.q_proj)[0] == sizes(module.o_proj)[1]
            and sizes(module.k_proj)[0] == sizes(module.v_proj)[0]
            and sizes(module.q_proj)[0] == sizes(module.k_proj)[0] * module.num_key_value_groups
        )

    def heads(self, module: Any) -> int:
        """Return the number of heads."""
        return int(module.q_proj.out_features // module.head_dim)

    def together(self, module: Any) -> int:
        """Return the number of heads that share keys and values."""
        return int(module.num_key_value_groups)

    def strengths(self, module: Any) -> Tensor:
        """Return the norm for each head."""
        shared = module.num_key_value_groups
        value = affine(module.v_proj).unflatten(0, (-1, module.head_dim))
        value = value.repeat_interleave(shared, 0).flatten(0, 1)
        return strengths(value, matrix(module.o_proj)[:, :, 0], self.heads(module))

    def keep(self, module: Any, kept: Tensor) -> nn.Module:
        """Return the module with only some of its groups of heads."""
        rows = places(kept, module.head_dim * module.num_key_value_groups)
        keep_outputs(module.q_proj, rows)
        keep_inputs(module.o_proj, rows)
        for layer in (module.k_proj, module.v_proj):
            keep_outputs(layer, places(kept, module.head_dim))
        tell(module, ("num_heads",), len(rows) // module.head_dim)
        tell(module, ("num_key_value_heads",), len(kept))
        changed: nn.Module = module
        return changed


KINDS: tuple[Kind, ...] = (Own(), Torch(), GPT2(), Llama())
"""The supported kinds."""


def kind_of(module: nn.Module) -> Kind | None:
    """Return a module's kind of attention, or None if it is not a supported one."""
    return next((kind for kind in KINDS if kind.fits(module)), None)


def inward(module: nn.MultiheadAttention) -> tuple[list[Tensor], list[Tensor | None]]:
    """Return the weights and the biases of queries, keys and values."""
    joint: Tensor | None = module.in_proj_weight
    offset: Tensor | None = module.in_proj_bias
    names = ("q_proj_weight", "k_proj_weight", "v_proj_weight")
    weights = [module.get_parameter(name) for name in names] if joint is None else joint.chunk(3)
    return list(weights), [None] * 3 if offset is None else list(offset.chunk(3))


def affine(layer: nn.Module) -> Tensor:
    """Return a linear layer's weight with its bias as a last column, (outputs, inputs + 1)."""
    return torch.cat([matrix(layer)[:, :, 0], bias(layer)[:, None]], 1)


def strengths(value: Tensor, outward: Tensor, heads: int) -> Tensor:
    """Return the norm of the product of the projections for each head, (heads,).

    Args:
        value: (heads × width, inputs).
        outward: (outputs, heads × width).
        heads: The number of heads.
    """
    own = outward.unflatten(1, (heads, -1)).transpose(0, 1)  # (heads, outputs, width)
    into = value.unflatten(0, (heads, -1))  # (heads, width, inputs)
    # The norm of a product, without the product: only (width, width) matrices are computed.
    squares: Tensor = ((own.mT @ own) * (into @ into.mT)).sum((1, 2))
    return squares.clamp(min=0).sqrt()


def places(heads: Tensor, width: int) -> Tensor:
    """Return the row indices of heads, each of this width, in a concatenation of all heads."""
    return (heads[:, None] * width + torch.arange(width)).flatten()


def three(rows: Tensor, size: int) -> Tensor:
    """Return row indices in concatenated queries, keys and values with `size` rows each."""
    return torch.cat([part * size + rows for part in range(3)])


def tell(module: nn.Module, names: tuple[str, ...], count: int) -> None:
    """Set those of the named integer attributes that the module has."""
    for name in names:
        if isinstance(getattr(module, name, None), int):
            setattr(module, name, count)


def _linear(layer: nn.Linear, weight: Tensor, offset: Tensor | None) -> nn.Linear:
    """Return a linear layer with these weights, in the dtype and on the device of another."""
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=offset is not None, device="meta")
    written(made, layer, weight=weight, offset=offset)
    return made
