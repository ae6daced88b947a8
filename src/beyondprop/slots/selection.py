"""How one of K values is chosen by their scores."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor


class Selection(ABC):
    """Chooses, for every connection, one of its slots."""

    name: ClassVar[str]
    random: ClassVar[bool] = False
    """Whether each forward pass in training mode chooses anew; elsewhere the best slot counts."""

    @abstractmethod
    def slots(self, scores: Tensor) -> Tensor:
        """Return the chosen slots, int64 of shape (...), by scores (K, ...)."""


@dataclass(frozen=True)
class Greedy(Selection):
    """The slot with the highest score; of equal ones the first."""

    name: ClassVar[str] = "greedy"

    def slots(self, scores: Tensor) -> Tensor:
        """Return the best slots."""
        return best(scores)


@dataclass(frozen=True)
class Sampled(Selection):
    """A slot drawn by the softmax of the scores, anew in each forward pass in training mode.

    By PyTorch's global generator for the device. In eval mode, in what is saved and in what is
    packed it is the slot with the highest score.
    """

    name: ClassVar[str] = "sampled"
    random: ClassVar[bool] = True

    def slots(self, scores: Tensor) -> Tensor:
        """Return drawn slots: the first whose cumulated share exceeds a uniform number."""
        if scores.dtype in (torch.float16, torch.bfloat16):
            scores = scores.float()  # half precision has too few steps below one to draw by
        shares = torch.exp(scores - scores.amax(0)).cumsum(0)
        drawn = torch.rand_like(shares[-1]) * shares[-1]
        return (shares[:-1] <= drawn).sum(0)


def best(scores: Tensor) -> Tensor:
    """Return the first of the slots with the highest score."""
    highest, slots = scores[0].clone(), torch.zeros_like(scores[0], dtype=torch.int64)
    for slot, score in enumerate(scores[1:], 1):
        slots[score > highest] = slot
        torch.maximum(highest, score, out=highest)
    return slots
