"""The loss around the weights, along random directions as long as the weights themselves.

Li, Xu, Taylor, Studer and Goldstein, "Visualizing the loss landscape of neural nets", NeurIPS 2018.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from beyondprop.audit.minima.curvature import Estimate, mean
from beyondprop.audit.minima.weight_loss import WeightLoss, Weights


def direction(weights: Weights, generator: torch.Generator) -> dict[str, Tensor]:
    """Return a random direction, each filter of which is as long as the weights' own.

    A filter is the part of a tensor at one index of its first axis: the weights into one unit of a
    linear layer or of a convolution. Each is drawn from the normal distribution and scaled to the
    norm of the weights' (section 4), so that two networks that compute the same by weights of
    different size look the same. Biases, and what norms scale and shift by, are left out, as in the
    paper: they stay where they are.

    Args:
        weights: By name, each (units, ...).
        generator: Of the CPU.
    """
    found = {}
    for name, each in weights.items():
        if each.dim() < 2:
            continue
        drawn = torch.randn(each.shape, generator=generator).to(each)  # (units, ...)
        inner = tuple(range(1, each.dim()))
        own, other = (x.norm(dim=inner, keepdim=True) for x in (each, drawn))  # (units, 1, ...)
        found[name] = drawn * (own / other)
    return found


def moved(weights: Weights, *along: tuple[float, Weights]) -> dict[str, Tensor]:
    """Return weights that are moved so far along each direction."""
    found = dict(weights)
    for length, way in along:
        found |= {name: found[name] + length * each for name, each in way.items()}
    return found


def line(
    loss: WeightLoss, way: Weights, places: Sequence[float], begin: Weights | None = None
) -> Iterator[float]:
    """Yield the loss at places along a direction.

    Args:
        loss: The loss.
        way: The direction.
        places: How far; 0 is where the line begins, 1 a step as long as the weights.
        begin: The model's own weights unless given.
    """
    weights = loss.weights if begin is None else begin
    for place in places:
        yield loss.value(moved(weights, (place, way)))


def plane(
    loss: WeightLoss, ways: tuple[Weights, Weights], places: Sequence[float]
) -> Iterator[float]:
    """Yield the loss on a grid, row by row: along the first direction within a row, and along the
    second from row to row.
    """
    weights = loss.weights
    for place in places:
        yield from line(loss, ways[0], places, moved(weights, (place, ways[1])))


def rises(loss: WeightLoss, radius: float, directions: int, seed: int = 0) -> Iterator[float]:
    """Yield how much the loss rises at a distance from the weights, for each random direction.

    ``L(θ + r d) - L(θ)``, where each filter of d is as long as the weights'.

    Args:
        loss: L; its model has the weights θ.
        radius: r, as a share of the weights' own length.
        directions: How many are drawn.
        seed: Of the directions.
    """
    generator = torch.Generator().manual_seed(seed)
    weights, before = loss.weights, loss.value()
    for _ in range(directions):
        yield loss.value(moved(weights, (radius, direction(weights, generator)))) - before


def sharpness(
    loss: WeightLoss, radius: float = 0.1, directions: int = 20, seed: int = 0
) -> Estimate:
    """Return the mean of `rises`."""
    return mean(list(rises(loss, radius, directions, seed)))
