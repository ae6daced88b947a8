"""What a minimum is where weights are chosen among fixed values: no other choice is better.

The loss of a slot machine is a step function of the scores. Its derivative by them is zero wherever
it is defined, so that it has no curvature there. What can be asked is whether a single weight, with
another of its own fixed values, would lower the loss.
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
"""Why figures of a slot machine mean something else."""


@dataclass(frozen=True)
class Switches:
    """Single weights that were given another of their values, one at a time.

    Attributes:
        tried: How many.
        lower: The share of them that lowers the loss.
        best: The change of the loss by the best of them; a minimum among neighbours has none below
            zero.
        mean: The mean change.
    """

    tried: int
    lower: float
    best: float
    mean: float


def switches(loss: WeightLoss, machine: Machine, tried: int, seed: int = 0) -> Iterator[float]:
    """Yield by how much the loss changes as one weight takes another of its values.

    Weights are drawn with equal chance from all that are chosen, and so is the value that each of
    them takes, from those that it doesn't have.

    Args:
        loss: Of the machine's model.
        machine: What `slots.convert` made of the model.
        tried: How many switches are drawn.
        seed: Of the draw.

    Raises:
        UserError: Some weight is none of its fixed values.
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
    """Return a tensor of weights in which one has another of its values, drawn."""
    weights = reel.parameter.detach().flatten().clone()  # (n,)
    at = torch.tensor([place], device=weights.device)
    options = reel.kind.options(reel.source.values_at(at, weights))[:, 0]  # (count,)
    others = options[options != weights[place]]
    if len(others):
        drawn = torch.randint(len(others), (1,), generator=generator).item()
        weights[place] = others[int(drawn)]
    return weights.view(reel.parameter.shape)


def summary(changes: list[float]) -> Switches:
    """Return what was found of all switches."""
    lower = sum(each < 0 for each in changes) / len(changes)
    return Switches(len(changes), lower, min(changes), sum(changes) / len(changes))
