"""A model with its loss inside, and what to call it with, as `beyondprop check` finds them."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Labelled(nn.Module):
    """Words in, the loss of the labels out."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(7, 6)
        self.layers = nn.ModuleList(nn.Linear(6, 6) for _ in range(2))
        self.head = nn.Linear(6, 7)

    def forward(self, words: Tensor, labels: Tensor) -> Tensor:
        x = self.words(words)  # (batch, tokens, features)
        for layer in self.layers:
            x = x + torch.tanh(layer(x))
        return F.cross_entropy(self.head(x).flatten(0, 1), labels.flatten())


def batch() -> dict[str, Tensor]:
    """Return the arguments of a call by name."""
    words = torch.arange(12).view(3, 4) % 7
    return {"words": words, "labels": words}


PAIR = tuple(batch().values())
