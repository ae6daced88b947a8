"""Minima of slot machines, whose weights are chosen among fixed values.

The loss of a slot machine is a step function of the scores. Its derivative with respect to them is
zero wherever it is defined, so it has no curvature there. The question that can be answered is
whether changing a single weight to another of its fixed values lowers the loss.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from beyondprop.audit.minima.weight_loss import WeightLoss
from beyondprop.slots import Machine
from beyondprop.slots.reel import Reel

SCORES = (
    "its weights are chosen among fixed values by scores, and the loss is a step function of the "
    "scores, so its curvature in them isn't defined. The curvature, the slope and the landscape "
    "here are with respect to the weights, around the chosen values; no other choice may lie nearby"
)
"""Why the figures of a slot machine have a different meaning."""


@dataclass(frozen=True)
class Switches:
    """The effect of changing single weights to another of their values, one at a time.

    Attributes:
        tried: Number of changes tried.
        lower: The share of them that lowers the loss.
        best: The change of the loss for the best of them; negative if some neighbour has a lower
            loss.
        mean: The mean change of the loss.
    """

    tried: int
    lower: float
    best: float
    mean: float


def switches(loss: WeightLoss, machine: Machine, tried: int, seed: int = 0) -> Iterator[float]:
    """Yield the change of the loss when one weight takes another of its values.

    Weights are drawn uniformly from all weights that are chosen, and their new values uniformly
    from the other values.

    Args:
        loss: The loss of the machine's model.
        machine: The result of `slots.convert` for the model.
        tried: Number of changes to draw.
        seed: Seed of the draw.

    Raises:
        UserError: A weight is not one of its fixed values.
    """
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.tensor([reel.parameter.numel() for reel in machine.reels])
    ends = sizes.cumsum(0)
    before = loss.value()
    for place in torch.randint(int(ends[-1]), (tried,), generator=generator).tolist():
        number = int(torch.searchsorted(ends, place, right=True))
        reel, begin = machine.reels[number], int(ends[number] - sizes[number])
        yield loss.value({reel.name: switched(reel, place - begin, generator)}) - before


def switched(reel: Reel, place: int, generator: torch.Generator) -> Tensor:
    """Return a tensor of weights in which one weight has another of its values, drawn at random."""
    weights = reel.parameter.detach().flatten().clone()  # (n,)
    at = torch.tensor([place], device=weights.device)
    options = reel.kind.options(reel.source.values_at(at, weights))[:, 0]  # (count,)
    others = options[options != weights[place]]
    if len(others):
        drawn = torch.randint(len(others), (1,), generator=generator).item()
        weights[place] = others[int(drawn)]
    return weights.view(reel.parameter.shape)


def summary(changes: list[float]) -> Switches:
    """Return a summary of all changes."""
    lower = sum(each < 0 for each in changes) / len(changes)
    return Switches(len(changes), lower, min(changes), sum(changes) / len(changes))
