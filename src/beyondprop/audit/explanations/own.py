"""Explanations of any model, in one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from beyondprop.audit.explanations.attribution import Occlusion, Saliency, complete
from beyondprop.audit.explanations.evidence import (
    answers,
    check_inputs,
    evidence,
    explained,
    without_graph,
)
from beyondprop.audit.explanations.regions import count_of, patches
from beyondprop.audit.explanations.shapley import (
    BUDGET,
    Interactions,
    game_of,
    interactions,
)
from beyondprop.errors import UserError


@dataclass(frozen=True, eq=False)
class Explanation:
    """The explanation of a model's answers.

    Attributes:
        classes: The explained classes, ``(n,)``.
        evidence: Evidence for them, ``(n,)``: the output of the class minus the mean of all
            outputs.
        maps: Attributions by method name, in the shape of the inputs: integrated gradients,
            saliency (signed) and occlusion.
        error: Relative error of the sum of the integrated gradients, ``(n,)``.
        regions: Regions of one input, int64: the players.
        interactions: Interactions of the regions, for each sample.
    """

    classes: Tensor
    evidence: Tensor
    maps: dict[str, Tensor]
    error: Tensor
    regions: Tensor
    interactions: list[Interactions]


def explain(
    model: nn.Module,
    inputs: Tensor,
    absent: Tensor,
    classes: Tensor | None = None,
    regions: Tensor | None = None,
    budget: int = BUDGET,
    seed: int = 0,
) -> Explanation:
    """Return the explanation of a model's answers, under exact gradients, whatever rule is
    attached.

    The model and the random generators are left unchanged.

    Args:
        model: Maps inputs to outputs (samples, classes).
        inputs: ``(n, ...)`` real numbers.
        absent: The baseline, an input that carries no information, in the shape of one input; for
            example the mean of the training inputs.
        classes: The classes to explain, ``(n,)``; by default the model's predictions.
        regions: Features to treat as one, int64 in the shape of one input: the region number of
            each number. By default 4 x 4 patches for images ``(channels, height, width)``, and
            single features for vectors of at most 16.
        budget: Number of combinations of regions that are evaluated for each sample.
        seed: Seed for the draw of combinations.

    Raises:
        UserError: The inputs or outputs cannot be explained, or `regions` is required.
    """
    check_inputs(inputs, absent)
    regions = default_regions(inputs.shape[1:]) if regions is None else regions
    if regions.shape != absent.shape:
        raise UserError(
            f"regions have shape {tuple(regions.shape)}, but an input {tuple(absent.shape)}"
        )
    with explained(model) as device:
        x, nothing, told = inputs.detach().to(device), absent.to(device), evidence(model)
        asked = answers(model, x) if classes is None else classes.to(device)
        found = complete(told, x, asked, nothing)
        maps = {"integrated gradients": found.maps} | {
            method.name: method.maps(told, x, asked, nothing)
            for method in (Saliency(), Occlusion(regions))
        }
        players = count_of(regions)
        together = [
            interactions(game_of(told, each, int(of), nothing, regions), players, budget, seed)
            for each, of in zip(x, asked, strict=True)
        ]
        has = without_graph(told, x, asked)
        return Explanation(asked, has, maps, found.error, regions, together)


def default_regions(shape: Sequence[int]) -> Tensor:
    """Return the default regions of an input of a given shape.

    Raises:
        UserError: There are no default regions for this shape.
    """
    if len(shape) == 3 and min(shape[1:]) >= 4:
        return patches(shape, 4, 4)
    if len(shape) == 1 and shape[0] <= 16:
        return torch.arange(shape[0])
    raise UserError(
        f"an input of shape {tuple(shape)} has no regions by default: give regions=, at most about "
        "16, such as patches((channels, height, width), 4, 4) or variables(training_inputs)"
    )
