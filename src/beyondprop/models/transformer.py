"""Transformers: a decoder for texts and an encoder for images.

A `Layer` normalises each sum (post-LN: Vaswani et al., "Attention is all you need", NeurIPS 2017),
a `NormFirstLayer` the input of each part (pre-LN, as GPT-2: Xiong et al., "On layer normalization
in the transformer architecture", ICML 2020). A last norm precedes the head. It has no scale and
shift: a linear head with a bias absorbs them, so the model can represent the same functions, and
only the head learns after the layers.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from beyondprop.errors import UserError

BLOCKS = ("embed", "layers.*", "head")
"""The blocks of these models, in the order they run; each layer is a block."""

Parts = tuple[tuple[str, ...], ...]
"""Blocks within a layer, by the names of modules in it; an empty name is the layer itself."""


class Attention(nn.Module):
    """Self-attention.

    Args:
        width: Width of a token.
        heads: Number of heads.
        causal: Whether a token attends only to itself and earlier ones.
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
    """Attention, then two linear layers with an activation; a norm after each of the two sums.

    Args:
        width: Width of a token.
        heads: Number of heads.
        causal: Whether a token attends only to itself and earlier ones.
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
    """Attention, then two linear layers with an activation; a norm before each of the two parts.

    Args:
        width: Width of a token.
        heads: Number of heads.
        causal: Whether a token attends only to itself and earlier ones.
    """

    # The sum after attention is not a module. A signal at the output of attention is equivalent, as
    # the other term of the sum has no graph. The second sum is the layer's own output.
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
    """Embeddings of tokens and their positions, added.

    Args:
        vocabulary: Number of different tokens.
        length: Number of positions.
        width: Width of a vector.
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
    """Embeddings of image patches and their positions, added.

    Args:
        side: Side of the image, in pixels.
        patch: Side of a patch.
        width: Width of a vector.
        channels: Number of channels of the image.
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
        width: Width of a token.
        classes: Number of classes.
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
        vocabulary: Number of different tokens.
        length: Maximum number of tokens in a text.
        width: Width of a token.
        layers: Number of layers.
        heads: Number of heads of each attention.
        norm_first: Whether norms precede attention and linear layers (pre-LN) or follow the sums
            (post-LN).
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
        layers: Number of layers of the model.
        norm_first: As in `gpt`.
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
    instead of a class token the head reads the mean of all tokens (Beyer, Zhai and Kolesnikov,
    "Better plain ViT baselines for ImageNet-1k", arXiv 2205.01580).

    Args:
        side: Side of an image, in pixels.
        patch: Side of a patch, which divides that of the image.
        width: Width of a token.
        layers: Number of layers, post-LN.
        heads: Number of heads of each attention.
        classes: Number of classes.
        channels: Number of channels of an image.

    Raises:
        UserError: The side is not a multiple of the patch, or the width not of the heads.
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
