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
    """Return a random direction in which each filter has the norm of the weights' filter.

    A filter is the part of a tensor at one index of its first axis: the incoming weights of one
    unit of a linear layer or of a convolution. Each is drawn from the normal distribution and
    scaled to the norm of the corresponding weights (section 4), so that two networks that compute
    the same function with weights of different scale look the same. Biases and the scales and
    shifts of norms are left out, as in the paper.

    Args:
        weights: By name, each (units, ...).
        generator: A generator on the CPU.
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
    """Return the weights plus a multiple of each direction."""
    found = dict(weights)
    for length, way in along:
        found |= {name: found[name] + length * each for name, each in way.items()}
    return found


def line(
    loss: WeightLoss, way: Weights, places: Sequence[float], begin: Weights | None = None
) -> Iterator[float]:
    """Yield the loss at positions along a direction.

    Args:
        loss: The loss.
        way: The direction.
        places: Positions; 0 is the start of the line, 1 a step as long as the weights.
        begin: The start of the line; by default the model's own weights.
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
    """Yield the rise of the loss at a distance from the weights, for each random direction.

    ``L(θ + r d) - L(θ)``, where each filter of d has the norm of the weights' filter.

    Args:
        loss: L; its model has the weights θ.
        radius: r, as a share of the weights' own length.
        directions: Number of directions.
        seed: Seed of the directions.
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
