"""Explanations of a model of one's own, in one call."""

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
    """Why a model answers so.

    Attributes:
        classes: Explained, ``(n,)``.
        evidence: For them, ``(n,)``: the output of the class less the mean of all outputs.
        maps: By the name of an attribution, in the shape of the inputs: of integrated gradients,
            saliency (with its signs) and occlusion.
        error: By what share of the evidence the integrated gradients miss it, ``(n,)``.
        regions: Of one input, int64: the players.
        interactions: Of the regions, for each sample.
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
    """Return why a model answers so, under exact gradients, whatever rule is attached to it.

    The model is left as it was found, and the random generators too.

    Args:
        model: From inputs to outputs (samples, classes).
        inputs: ``(n, ...)`` real numbers.
        absent: The input that carries no information, in the shape of one input; such as the mean
            of the training inputs.
        classes: To explain, ``(n,)``; by default the model's answers.
        regions: What acts together, int64 in the shape of one input: the number of each number's
            region. By default 4 x 4 patches of images ``(channels, height, width)``, and each
            feature of at most 16.
        budget: Combinations of regions that are tried for each sample.
        seed: By which they are drawn.

    Raises:
        UserError: The inputs or outputs cannot be explained, or regions= is needed.
    """
    check_inputs(inputs, absent)
    regions = default_regions(inputs.shape[1:]) if regions is None else regions
    if regions.shape != absent.shape:
        raise UserError(
            f"regions have shape {tuple(regions.shape)}, and an input {tuple(absent.shape)}"
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
    """Return the regions of an input of which nothing else is known.

    Raises:
        UserError: They must be told.
    """
    if len(shape) == 3 and min(shape[1:]) >= 4:
        return patches(shape, 4, 4)
    if len(shape) == 1 and shape[0] <= 16:
        return torch.arange(shape[0])
    raise UserError(
        f"an input of shape {tuple(shape)} has no regions by default: give regions=, at most about "
        "16, such as patches((channels, height, width), 4, 4) or variables(training_inputs)"
    )
