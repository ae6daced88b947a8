"""Models that take something else than one tensor of floats."""

import torch
from torch import Tensor, nn

from .case import Case
from .wiring import FORWARD_MODE


class Positions(nn.Module):
    """A learned vector for every place, a parameter of this module's own."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(5, 8) * 0.1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.table[: x.shape[1]]


class Embedder(nn.Module):
    """Words and their places, each by an embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(9, 8)
        self.places = nn.Embedding(5, 8)

    def forward(self, words: Tensor) -> Tensor:
        return self.words(words) + self.places(torch.arange(words.shape[1]))


class Siamese(nn.Module):
    """One trunk called twice, on two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(8, 8), nn.Tanh())
        self.head = nn.Linear(8, 4)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.head((self.trunk(a) - self.trunk(b)).abs())


class TwoInputs(nn.Module):
    """Two inputs of unlike shapes, each with a block of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.image, self.text = nn.Conv2d(2, 2, 2), nn.Linear(5, 8)
        self.head = nn.Linear(16, 4)

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        seen = torch.tanh(self.image(image)).flatten(1)
        return self.head(torch.cat([seen, torch.tanh(self.text(text))], 1))


class KeywordsOnly(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 8), nn.Linear(3, 8)
        self.head = nn.Linear(8, 4)

    def forward(self, *, x: Tensor, context: Tensor) -> Tensor:
        return self.head(torch.tanh(self.first(x)) * self.second(context))


WORDS = {"inputs": ((6, 3),), "below": 9}
NO_FLOATS = {"infopro": "must be a tensor of floats", "scff": "must be a tensor of floats"}
CASES = [
    Case(
        "words-and-places",
        lambda: nn.Sequential(Embedder(), nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 4)),
        targets=(6, 3),
        refused=NO_FLOATS,
        **WORDS,
    ),
    Case(
        "places-of-their-own",
        lambda: nn.Sequential(
            nn.Embedding(9, 8), Positions(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 4)
        ),
        targets=(6, 3),
        exact=("1",),
        refused=NO_FLOATS,
        **WORDS,
    ),
    Case(
        "bag-of-words",
        lambda: nn.Sequential(nn.EmbeddingBag(9, 8), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 4)),
        refused=FORWARD_MODE | NO_FLOATS,
        **WORDS,
    ),
    Case("siamese", Siamese, inputs=((6, 8), (6, 8)), blocks=["trunk", "head"]),
    Case("two-inputs", TwoInputs, inputs=((6, 2, 3, 3), (6, 5)), blocks=["image", "text", "head"]),
    Case(
        "keywords-only",
        KeywordsOnly,
        inputs=(),
        keywords={"x": (6, 8), "context": (6, 3)},
        blocks=["first", "second", "head"],
    ),
]
