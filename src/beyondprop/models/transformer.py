"""Transformers: a decoder for texts and an encoder for images.

Layers normalise what they add (Vaswani et al., "Attention is all you need", NeurIPS 2017), so that
a block can end behind each norm; a last norm stands before the head.
"""

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BLOCKS = ("embed", "layers.*", "norm", "head")
"""The blocks of these models, in the order they run: each layer is one."""


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
    """

    def __init__(self, side: int, patch: int, width: int) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, width, kernel_size=patch, stride=patch)
        self.position = nn.Parameter(0.02 * torch.randn((side // patch) ** 2, width))

    def forward(self, images: Tensor) -> Tensor:
        """(batch, 3, side, side) to (batch, tokens, width)."""
        out: Tensor = self.patch(images).flatten(2).transpose(1, 2) + self.position
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


def gpt(vocabulary: int, length: int, width: int, layers: int, heads: int) -> nn.Module:
    """Return a decoder from tokens (batch, tokens) to logits (batch, tokens, vocabulary)."""
    return _stacked(
        Embedding(vocabulary, length, width),
        [Layer(width, heads, causal=True) for _ in range(layers)],
        nn.Linear(width, vocabulary, bias=False),
    )


def vit(side: int, patch: int, width: int, layers: int, heads: int, classes: int) -> nn.Module:
    """Return an encoder from images (batch, 3, side, side) to logits (batch, classes)."""
    return _stacked(
        Patches(side, patch, width),
        [Layer(width, heads, causal=False) for _ in range(layers)],
        MeanHead(width, classes),
    )


def _stacked(embed: nn.Module, layers: list[Layer], head: nn.Module) -> nn.Module:
    width = layers[0].norm1.normalized_shape[0]
    norm = nn.LayerNorm(width)
    stack = nn.Sequential(*layers)
    return nn.Sequential(OrderedDict(embed=embed, layers=stack, norm=norm, head=head))
