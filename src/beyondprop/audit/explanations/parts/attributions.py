"""Completeness, faithfulness and stability of attributions."""

from __future__ import annotations

from torch import Tensor, nn

from beyondprop.audit.base import Answer
from beyondprop.audit.explanations.attribution import (
    Attribution,
    IntegratedGradients,
    Occlusion,
    Random,
    Saliency,
    complete,
)
from beyondprop.audit.explanations.evidence import evidence, probability
from beyondprop.audit.explanations.faithfulness import removals, sensitivity
from beyondprop.audit.explanations.figures import (
    against_random,
    mean_of,
    of_completeness,
    of_method,
)
from beyondprop.audit.explanations.subject import Subject

TOLERANCE = 0.01
"""Maximum relative error of the sum of integrated gradients."""


def attributions(
    model: nn.Module, subject: Subject, classes: Tensor, steps: int, most_steps: int, draws: int
) -> tuple[Answer, Tensor]:
    """Return the completeness and faithfulness of attributions, and the integrated gradients."""
    told, likely = evidence(model), probability(model)
    x, absent = subject.inputs, subject.absent
    whole = complete(told, x, classes, absent, steps=steps, most=most_steps, tolerance=TOLERANCE)
    methods: tuple[Attribution, ...] = (Saliency(), Occlusion(subject.finer), Random())
    maps: list[tuple[Attribution, Tensor]] = [(IntegratedGradients(steps), whole.maps)]
    maps += [(method, method.maps(told, x, classes, absent)) for method in methods]
    removed = removals(told, x, classes, absent, subject.regions, draws, seed=0)
    found = {
        method.name: of_method(method, mine, subject, classes, likely, removed)
        for method, mine in maps
    }
    by_sample = {name: figures for name, (_, figures) in found.items()}
    random = by_sample.pop(Random.name)
    answer: Answer = {
        "completeness": of_completeness(whole, TOLERANCE),
        "attribution": {name: told_of for name, (told_of, _) in found.items()},
        "better_than_random": against_random(by_sample, random),
    }
    return answer, whole.maps


def stability(
    model: nn.Module, subject: Subject, classes: Tensor, steps: int, radius: float, draws: int
) -> Answer:
    """Return the largest change of each method's maps under small changes of the inputs.

    Args:
        model: The explained model.
        subject: Its samples.
        classes: The explained classes.
        steps: Steps of integrated gradients.
        radius: Maximum change, as a share of the standard deviation of all numbers of the inputs.
        draws: Changed inputs for each sample.
    """
    told, x, absent = evidence(model), subject.inputs, subject.absent
    reach = radius * x.std().item()
    methods: tuple[Attribution, ...] = (
        IntegratedGradients(steps), Saliency(), Occlusion(subject.finer)
    )  # fmt: skip
    return {
        "radius": reach,
        "methods": {
            method.name: mean_of(
                sensitivity(
                    lambda moved, m=method: m.maps(told, moved, classes, absent),  # type: ignore[misc]
                    x, reach, draws, seed=0,
                )
            )
            for method in methods
        },
    }  # fmt: skip
