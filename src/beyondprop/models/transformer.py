"""Transformers: a decoder for texts and an encoder for images.

A `Layer` normalises what it adds (post-LN: Vaswani et al., "Attention is all you need", NeurIPS
2017), a `NormFirstLayer` what it reads (pre-LN, as GPT-2: Xiong et al., "On layer normalization in
the transformer architecture", ICML 2020). A last norm stands before the head. It has no scale and
shift: a linear head with a bias absorbs them, so the model makes the same functions without, and
the head is all that learns behind the layers.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from beyondprop.errors import UserError

BLOCKS = ("embed", "layers.*", "head")
"""The blocks of these models, in the order they run: each layer is one."""

Parts = tuple[tuple[str, ...], ...]
"""Blocks within a layer, by the names of modules in it; an empty one is the layer's own."""


class Attention(nn.Module):
    """Attention of tokens to one another.

    Args:
        width: Of a token.
        heads: How many.
        causal: Whether a token sees only those before it.
    """

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.inward = nn.Linear(width, 3 * width)
        self.outward = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, tokens, width) to the same."""
        parts = self.inward(x).unflatten(-1, (3, self.heads, -1))  # (batch, tokens, 3, heads, w)
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # each (batch, heads, tokens, w)
        found = F.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        out: Tensor = self.outward(found.transpose(1, 2).flatten(2))
        return out


class Layer(nn.Module):
    """Attention, then two linear layers with an activation; a norm behind each of both.

    Args:
        width: Of a token.
        heads: Of the attention.
        causal: Whether a token sees only those before it.
    """

    PARTS: ClassVar[Parts] = (("attention", "norm1"), ("up", "activation"), ("down", "norm2"))

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.attention = Attention(width, heads, causal)
        self.norm1 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.activation = nn.GELU()
        self.down = nn.Linear(4 * width, width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, tokens, width) to the same."""
        x = self.norm1(x + self.attention(x))
        out: Tensor = self.norm2(x + self.down(self.activation(self.up(x))))
        return out


class NormFirstLayer(nn.Module):
    """Attention, then two linear layers with an activation, each of both on a norm of the sum.

    Args:
        width: Of a token.
        heads: Of the attention.
        causal: Whether a token sees only those before it.
    """

    # The sum behind attention is no module: a signal there is one at the output of attention, as
    # what is added to it has no graph. The second sum is the layer's own output.
    PARTS: ClassVar[Parts] = (
        ("attention_norm", "attention"),
        ("up_norm", "up", "activation"),
        ("down", ""),
    )

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads, causal)
        self.up_norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.activation = nn.GELU()
        self.down = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, tokens, width) to the same."""
        x = x + self.attention(self.attention_norm(x))
        out: Tensor = x + self.down(self.activation(self.up(self.up_norm(x))))
        return out


class Embedding(nn.Module):
    """Tokens and their positions as vectors.

    Args:
        vocabulary: How many tokens there are.
        length: How many positions.
        width: Of a vector.
    """

    def __init__(self, vocabulary: int, length: int, width: int) -> None:
        super().__init__()
        self.token = nn.Embedding(vocabulary, width)
        self.position = nn.Embedding(length, width)

    def forward(self, ids: Tensor) -> Tensor:
        """(batch, tokens) to (batch, tokens, width)."""
        places = torch.arange(ids.shape[1], device=ids.device)
        out: Tensor = self.token(ids) + self.position(places)
        return out


class Patches(nn.Module):
    """Patches of images and their positions as vectors.

    Args:
        side: Of the image, in pixels.
        patch: Side of a patch.
        width: Of a vector.
        channels: Of the image.
    """

    def __init__(self, side: int, patch: int, width: int, channels: int) -> None:
        super().__init__()
        self.patch = nn.Conv2d(channels, width, kernel_size=patch, stride=patch)
        self.position = nn.Embedding((side // patch) ** 2, width)
        nn.init.normal_(self.position.weight, std=0.02)

    def forward(self, images: Tensor) -> Tensor:
        """(batch, channels, side, side) to (batch, tokens, width)."""
        tokens: Tensor = self.patch(images).flatten(2).transpose(1, 2)
        places = torch.arange(tokens.shape[1], device=tokens.device)
        out: Tensor = tokens + self.position(places)
        return out


class MeanHead(nn.Module):
    """A linear layer on the mean of the tokens.

    Args:
        width: Of a token.
        classes: How many.
    """

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, tokens, width) to (batch, classes)."""
        out: Tensor = self.linear(x.mean(1))
        return out


def gpt(
    vocabulary: int, length: int, width: int, layers: int, heads: int, norm_first: bool = False
) -> nn.Module:
    """Return a decoder from tokens (batch, tokens) to logits (batch, tokens, vocabulary).

    Args:
        vocabulary: How many tokens there are.
        length: Tokens in a text at most.
        width: Of a token.
        layers: How many.
        heads: Of each attention.
        norm_first: Whether norms stand before what they serve (pre-LN), or behind (post-LN).
    """
    kind = _kind(norm_first)
    return _stacked(
        Embedding(vocabulary, length, width),
        [kind(width, heads, causal=True) for _ in range(layers)],
        width,
        nn.Linear(width, vocabulary),
    )


def parts(layers: int, norm_first: bool = False) -> list[str | tuple[str, ...]]:
    """Return the blocks of `gpt` that are smaller than a layer, without the head.

    Args:
        layers: How many the model has.
        norm_first: As `gpt` takes it.
    """
    names = [f"layers.{number}" for number in range(layers)]
    blocks = _kind(norm_first).PARTS
    return ["embed", *(within(name, block) for name in names for block in blocks)]


def within(layer: str, block: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names in the model of the modules of a block within a layer."""
    return tuple(f"{layer}.{part}" if part else layer for part in block)


def vit(
    side: int, patch: int, width: int, layers: int, heads: int, classes: int, channels: int = 3
) -> nn.Module:
    """Return an encoder from images (batch, channels, side, side) to logits (batch, classes).

    Images are cut into patches (Dosovitskiy et al., "An image is worth 16x16 words", ICLR 2021);
    in place of a class token the head reads the mean of all tokens (Beyer, Zhai and Kolesnikov,
    "Better plain ViT baselines for ImageNet-1k", arXiv 2205.01580).

    Args:
        side: Of an image, in pixels.
        patch: Side of a patch, which divides that.
        width: Of a token.
        layers: How many, post-LN.
        heads: Of each attention.
        classes: How many.
        channels: Of an image.

    Raises:
        UserError: Patches don't fill the image, or heads don't share the width.
    """
    if patch < 1 or side % patch:
        raise UserError(f"patches of {patch} pixels do not fill a side of {side}")
    if width % heads:
        raise UserError(f"a width of {width} cannot be shared by {heads} heads")
    return _stacked(
        Patches(side, patch, width, channels),
        [Layer(width, heads, causal=False) for _ in range(layers)],
        width,
        MeanHead(width, classes),
    )


def _kind(norm_first: bool) -> type[Layer] | type[NormFirstLayer]:
    return NormFirstLayer if norm_first else Layer


def _stacked(
    embed: nn.Module, layers: Sequence[nn.Module], width: int, head: nn.Module
) -> nn.Module:
    norm = nn.LayerNorm(width, elementwise_affine=False)
    stack = nn.Sequential(*layers)
    return nn.Sequential(OrderedDict(embed=embed, layers=stack, norm=norm, head=head))
