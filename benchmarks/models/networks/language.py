"""Transformers in plain PyTorch: a GPT that returns its loss, and an encoder–decoder."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class GPTBlock(nn.Module):
    """Causal attention and a perceptron, with norms first."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.ln_1 = nn.LayerNorm(dim)
        self.c_attn = nn.Linear(dim, 3 * dim)
        self.c_proj = nn.Linear(dim, dim)
        self.ln_2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def attention(self, x: Tensor) -> Tensor:
        batch, tokens, dim = x.shape
        split = (batch, tokens, self.heads, dim // self.heads)
        q, k, v = (each.view(split).transpose(1, 2) for each in self.c_attn(x).split(dim, 2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.c_proj(y.transpose(1, 2).reshape(batch, tokens, dim))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))  # (batch, tokens, dim)


class GPT(nn.Module):
    """A model that predicts the next token, and returns the loss if targets are given."""

    def __init__(self, vocabulary: int, context: int, dim: int, depth: int, heads: int):
        super().__init__()
        self.wte = nn.Embedding(vocabulary, dim)
        self.wpe = nn.Embedding(context, dim)
        self.h = nn.ModuleList(GPTBlock(dim, heads) for _ in range(depth))
        self.ln_f = nn.LayerNorm(dim)
        self.lm_head = nn.Linear(dim, vocabulary, bias=False)
        self.wte.weight = self.lm_head.weight

    def forward(self, idx: Tensor, targets: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        x = self.wte(idx) + self.wpe(torch.arange(idx.shape[1], device=idx.device))
        for block in self.h:
            x = block(x)
        logits = self.lm_head(self.ln_f(x))  # (batch, tokens, vocabulary)
        if targets is None:
            return logits, None
        return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1)


class Positions(nn.Module):
    """Sines and cosines added to each token."""

    table: Tensor

    def __init__(self, dim: int, longest: int):
        super().__init__()
        angles = torch.arange(longest)[:, None] * torch.exp(
            torch.arange(0, dim, 2) * (-math.log(10000.0) / dim)
        )
        table = torch.stack([angles.sin(), angles.cos()], -1).flatten(1)  # (longest, dim)
        self.register_buffer("table", table[:, None])

    def forward(self, x: Tensor) -> Tensor:
        return x + self.table[: len(x)]  # (tokens, batch, dim)


class Translator(nn.Module):
    """An encoder–decoder with `nn.Transformer`, tokens first as in its tutorial."""

    def __init__(self, vocabulary: int, dim: int, depth: int, heads: int):
        super().__init__()
        self.src_embedding = nn.Embedding(vocabulary, dim)
        self.tgt_embedding = nn.Embedding(vocabulary, dim)
        self.positions = Positions(dim, 64)
        self.transformer = nn.Transformer(dim, heads, depth, depth, 2 * dim, dropout=0.0)
        self.generator = nn.Linear(dim, vocabulary)

    def forward(self, src: Tensor, tgt: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(len(tgt))
        source = self.positions(self.src_embedding(src))  # (source, batch, dim)
        target = self.positions(self.tgt_embedding(tgt))
        return self.generator(self.transformer(source, target, tgt_mask=mask))
