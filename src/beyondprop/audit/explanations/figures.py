"""The figures of the section as JSON values, one function for each part."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from beyondprop.audit.base import Answer
from beyondprop.audit.explanations.attribution import Attribution, Complete
from beyondprop.audit.explanations.evidence import Told
from beyondprop.audit.explanations.faithfulness import (
    area,
    deletion,
    insertion,
    relative_infidelity,
    said_of,
)
from beyondprop.audit.explanations.layers import LayerFigures
from beyondprop.audit.explanations.shapley import Interactions
from beyondprop.audit.explanations.subject import Subject
from beyondprop.audit.explanations.tcav import Pushed

PICTURE = 14
"""Maximum side length, in pixels, of stored pictures."""


def mean_of(values: Tensor) -> Answer:
    """Return the mean over the samples with its 95 % t interval; NaN values are left out."""
    from scipy.stats import t

    values = values.double().flatten()
    values = values[values.isfinite()]
    if len(values) == 0:
        return {"mean": None, "interval": None}
    mean = values.mean().item()
    if len(values) == 1:
        return {"mean": rounded(mean), "interval": None}
    half = float(t.ppf(0.975, len(values) - 1)) * values.std().item() / len(values) ** 0.5
    return {"mean": rounded(mean), "interval": [rounded(mean - half), rounded(mean + half)]}


def rounded(value: float, digits: int = 4) -> float | None:
    """Return a number rounded to `digits` significant digits; None if it is not finite."""
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None


def rounded_all(values: Tensor, digits: int = 3) -> list[float | None]:
    """Return numbers rounded to `digits` significant digits."""
    return [rounded(each, digits) for each in values.double().flatten().tolist()]


def of_completeness(found: Complete, tolerance: float) -> Answer:
    """Return the share of samples with complete attributions, and the steps that were needed."""
    finite = found.error[found.error.isfinite()]
    steps, counts = found.steps.unique(return_counts=True)
    return {
        "tolerance": tolerance,
        "held": rounded((found.error <= tolerance).double().mean().item()),
        "mean": rounded(finite.mean().item()) if len(finite) else None,
        "worst": rounded(finite.max().item()) if len(finite) else None,
        "steps": {str(k): v for k, v in zip(steps.tolist(), counts.tolist(), strict=True)},
    }


def of_method(
    method: Attribution,
    maps: Tensor,
    subject: Subject,
    classes: Tensor,
    likely: Told,
    removed: tuple[Tensor, Tensor],
) -> tuple[Answer, Mapping[str, Tensor]]:
    """Return the faithfulness of a method's maps, and the figures of each sample that comparisons
    need: the areas and the infidelity.
    """
    x, absent = subject.inputs, subject.absent
    hidden, taken = removed
    importance = method.importance(maps)
    curves = {
        "deletion": deletion(likely, x, classes, importance, absent),
        "insertion": insertion(likely, x, classes, importance, absent),
    }
    said = said_of(method.contributions(maps, x, absent), subject.regions, hidden)
    by_sample = {name: area(curve) for name, curve in curves.items()}
    by_sample["infidelity"] = relative_infidelity(said, taken)
    answer: Answer = {
        name: {**mean_of(by_sample[name]), "curve": rounded_all(curve.mean(0))}
        for name, curve in curves.items()
    }
    return answer | {"infidelity": mean_of(by_sample["infidelity"])}, by_sample


def against_random(
    found: Mapping[str, Mapping[str, Tensor]], random: Mapping[str, Tensor]
) -> dict[str, Answer]:
    """Return the improvement of each method over the random ranking, paired by sample; positive
    means better than random.
    """
    return {
        name: {
            "deletion": mean_of(random["deletion"] - mine["deletion"]),
            "insertion": mean_of(mine["insertion"] - random["insertion"]),
            "infidelity": mean_of(random["infidelity"] - mine["infidelity"]),
        }
        for name, mine in found.items()
    }


def of_layer(found: LayerFigures, tolerance: float) -> Answer:
    """Return the figures of a block's units."""
    return {
        "units": found.units,
        "used": rounded(found.used),
        "against": rounded(found.against),
        "completeness": of_completeness(found.found, tolerance),
    }


def of_interactions(found: Sequence[Interactions]) -> Answer:
    """Return the share of the answers that comes from pairs of regions, over the samples."""
    pairs = torch.stack([each.pairs for each in found])  # (n, players, players)
    size = pairs.abs().sum()
    negative = (pairs.clamp_max(0).abs().sum() / size).item() if size > 0 else 0.0
    single = torch.stack([each.single for each in found]).abs().mean(0)  # (players,)
    return {
        "samples": len(found),
        "players": len(single),
        "from_pairs": mean_of(torch.tensor([each.from_pairs for each in found])),
        "redundant": rounded(negative),
        "single_size": rounded_all(single),
        "pair_size": rounded_all(_upper(pairs.abs().mean(0))),
    }


def of_sample(found: Interactions, names: Sequence[str], listed: int) -> Answer:
    """Return the short lists of one sample, and the values for a picture of the pairs.

    `pairs` holds the upper triangle, row by row.
    """

    def as_list(effects: list[tuple[tuple[int, ...], float]]) -> list[Answer]:
        return [
            {"of": [names[i] for i in players], "players": list(players), "effect": rounded(effect)}
            for players, effect in effects
        ]

    return {
        "whole": rounded(found.whole),
        "from_single": rounded(found.single.sum().item()),
        "from_pairs": rounded(found.pairs.sum().item() / 2),
        "most": as_list(found.most(listed)),
        "most_pairs": as_list(found.largest_pairs(listed)),
        "single": rounded_all(found.single),
        "pairs": rounded_all(_upper(found.pairs)),
    }


def _upper(pairs: Tensor) -> Tensor:
    i, j = torch.triu_indices(len(pairs), len(pairs), 1)
    return pairs[i, j]


def picture(values: Tensor, image: tuple[int, int]) -> Answer:
    """Return an image or a map as numbers: the mean over its channels, reduced to at most 14 x 14.

    Args:
        values: Values of one sample.
        image: Height and width.
    """
    grey = values.reshape(-1, *image).mean(0)[None]  # (1, height, width)
    size = (min(PICTURE, image[0]), min(PICTURE, image[1]))
    return {"shape": list(size), "values": rounded_all(F.adaptive_avg_pool2d(grey, size))}


def of_concepts(found: Sequence[Pushed], classes: Sequence[str]) -> list[Answer]:
    """Return the effects of concepts, with the names of the classes."""
    return [
        {
            "concept": each.concept,
            "towards": classes[each.towards],
            "score": rounded(each.score),
            "control": rounded(each.control),
            "p": rounded(each.p, 3),
            "significant": each.significant,
            "told_apart": rounded(each.told_apart),
        }
        for each in found
    ]
