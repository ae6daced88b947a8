"""Transformers, whole and in parts."""

import torch
from torch import Tensor, nn

from .case import Case


def layer(kind: type[nn.Module] = nn.TransformerEncoderLayer, **settings: object) -> nn.Module:
    """Return a small layer."""
    given = {"dropout": 0.0, "batch_first": True, **settings}
    return kind(8, 2, dim_feedforward=12, **given)


class Cross(nn.Module):
    """Attention to features of other widths than its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(8, 8)
        self.attention = nn.MultiheadAttention(8, 2, kdim=5, vdim=3, batch_first=True)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        mixed, _ = self.attention(x, x[..., :5], x[..., :3], need_weights=False)
        return self.head(torch.tanh(mixed))


class Attends(nn.Module):
    """A block around self-attention that is asked for its weights, and hands on a part of them."""

    def __init__(self, batch_first: bool = True) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(
            8, 2, add_bias_kv=True, add_zero_attn=True, batch_first=batch_first
        )

    def forward(self, x: Tensor) -> Tensor:
        mixed, weights = self.attention(x, x, x)
        return x + mixed * weights.amax(-1, keepdim=True)


class Decoder(nn.Module):
    """A decoder layer that looks at what an encoder layer made: in one block, or in two."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = layer()
        self.decode = layer(nn.TransformerDecoderLayer)

    def forward(self, x: Tensor) -> Tensor:
        causal = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        return self.decode(x, self.encode(x), tgt_mask=causal)


class Seq2Seq(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.coder = Decoder()
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.coder(x))


class Classifier(nn.Module):
    """Tokens in, one class for all of them out."""

    def __init__(self, batch_first: bool = True, **settings: object) -> None:
        super().__init__()
        self.tokens = 1 if batch_first else 0
        norm_first = bool(settings.get("norm_first"))
        self.encoder = nn.TransformerEncoder(
            layer(batch_first=batch_first, **settings),
            2,
            norm=nn.LayerNorm(8) if norm_first else None,
            enable_nested_tensor=False,
        )
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.tokens else x.transpose(0, 1)
        return self.head(self.encoder(x).mean(self.tokens))


def one_layer(**settings: object) -> nn.Module:
    return nn.Sequential(layer(**settings), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 4))


TOKENS, EACH = ((6, 3, 8),), (6, 3)
CASES = [
    Case("transformer-layer", one_layer, inputs=TOKENS, targets=EACH),
    Case(
        "transformer-layer-eval",
        lambda: one_layer(dropout=0.1),
        inputs=TOKENS,
        targets=EACH,
        training=False,
    ),
    Case(
        "transformer-stack",
        lambda: Classifier(norm_first=True),
        inputs=TOKENS,
        blocks=["encoder.layers.*", "encoder.norm", "head"],
    ),
    Case(
        "transformer-tokens-first",
        lambda: Classifier(batch_first=False),
        inputs=TOKENS,
        blocks=["encoder.layers.*", "head"],
    ),
    Case("decoder-in-block", Seq2Seq, inputs=TOKENS, targets=EACH, blocks=["coder", "head"]),
    Case(
        "decoder-across-blocks",
        Seq2Seq,
        inputs=TOKENS,
        targets=EACH,
        blocks=["coder.*", "head"],
    ),
    Case(
        "attention-widths",
        Cross,
        inputs=TOKENS,
        targets=EACH,
        blocks=["stem", "attention", "head"],
    ),
    Case(
        "attention-weights",
        lambda: nn.Sequential(nn.Linear(8, 8), Attends(), nn.Linear(8, 4)),
        inputs=TOKENS,
        targets=EACH,
    ),
]
