"""Small encoders, each for one kind of input, from ``(batch, ...)`` to ``(batch, width)``."""

import torch
from torch import Tensor, nn


def vectors(inputs: int, width: int) -> nn.Module:
    """Return an encoder of vectors ``(batch, inputs)``: two linear layers with ReLU."""
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())


def pictures(channels: int, size: int, width: int) -> nn.Module:
    """Return an encoder of pictures ``(batch, channels, size, size)``: two convolutions.

    Args:
        channels: Number of channels of the pictures.
        size: Length of their sides; a multiple of 4.
        width: Width of the output.
    """
    return nn.Sequential(
        nn.Conv2d(channels, 16, kernel_size=3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, kernel_size=3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * (size // 4) ** 2, width),
        nn.ReLU(),
    )


class Frames(nn.Module):
    """An encoder of sequences of vectors: two convolutions along the sequence, and their mean.

    Frames after a sequence's end are masked, so that the amount of padding has no effect.

    Args:
        inputs: Width of a frame.
        width: Width of the output.
        reach: Kernel size of the convolutions in frames; odd, so that their number does not change.
    """

    def __init__(self, inputs: int, width: int, reach: int = 5) -> None:
        super().__init__()
        self.first = nn.Conv1d(inputs, width, reach, padding=reach // 2)
        self.second = nn.Conv1d(width, width, reach, padding=reach // 2)
        self.last = nn.Linear(width, width)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return ``(batch, width)``.

        Args:
            x: ``(batch, frames, inputs)``.
            lengths: Number of frames of each sequence, ``(batch,)`` int64, at least 1; all by
                default.
        """
        x = x.transpose(1, 2)  # (batch, inputs, frames)
        if lengths is None:
            mean = self.second(self.first(x).relu()).relu().mean(2)
        else:
            places = torch.arange(x.shape[2], device=x.device)
            inside = (places < lengths[:, None])[:, None].to(x.dtype)  # (batch, 1, frames)
            hidden = self.first(x * inside).relu() * inside
            mean = (self.second(hidden).relu() * inside).sum(2) / lengths[:, None]
        out: Tensor = self.last(mean).relu()  # (batch, width)
        return out


class Words(nn.Module):
    """An encoder of texts as bags of words: the mean vector of the words, and a linear layer.

    Args:
        vocabulary: Number of word indices; index 0 is padding and is ignored.
        width: Width of a word's vector and of the output.
    """

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary, width, padding_idx=0)
        self.last = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, length) int64 to (batch, width); a text without words has a mean vector of 0."""
        # Not `nn.EmbeddingBag`, which has no forward-mode derivatives.
        there = (x != 0)[..., None]  # (batch, length, 1)
        total = torch.where(there, self.table(x), 0).sum(1)
        mean = total / there.sum(1).clamp(min=1)  # (batch, width)
        out: Tensor = self.last(mean).relu()
        return out
