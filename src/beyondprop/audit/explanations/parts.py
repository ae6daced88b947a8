"""The parts of the section: each asks a model one thing and returns JSON values.

They run inside `explained(model)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from rich.progress import Progress
from torch import Tensor, nn

from beyondprop.audit.base import Answer, Audited
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
    of_concepts,
    of_interactions,
    of_layer,
    of_method,
    of_sample,
    picture,
)
from beyondprop.audit.explanations.layers import block_ends, layer_figures, with_rows
from beyondprop.audit.explanations.regions import count_of, joined, summed
from beyondprop.audit.explanations.shapley import game_of, interactions
from beyondprop.audit.explanations.subject import Subject
from beyondprop.audit.explanations.tcav import ConceptTest, concepts
from beyondprop.errors import UserError
from beyondprop.jobs.progress import bar
from beyondprop.tasks import Samples

TOLERANCE = 0.01
"""Share of the evidence by which integrated gradients may miss it."""

EACH = 5
"""Sets that a concept's examples would fill, each with others; the random ones too."""

MOST = 2000
"""Test samples among which those of each class are looked for."""

CLASSES = 10
"""Classes whose own samples are concepts, at most."""


def attributions(
    model: nn.Module, subject: Subject, classes: Tensor, steps: int, most_steps: int, draws: int
) -> tuple[Answer, Tensor]:
    """Return how complete and how faithful the attributions are, and the integrated gradients."""
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
    """Return by how much each method's maps change at most where the inputs move a little.

    Args:
        model: Explained.
        subject: Its samples.
        classes: Of them.
        steps: Of integrated gradients.
        radius: As a share of the standard deviation of all numbers of the inputs.
        draws: Moved inputs for each sample.
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


def layers(
    model: nn.Module,
    audited: Audited,
    subject: Subject,
    classes: Tensor,
    steps: int,
    most_steps: int,
) -> Answer:
    """Return what each block's units say; blocks without a row for each sample are left out."""
    ends = block_ends(audited.task, model)
    usable = with_rows(model, list(ends.values()), subject.inputs[:2])
    found = {}
    for name, end in ends.items():
        if end in usable:
            figures = layer_figures(
                evidence(model), model.get_submodule(end), subject.inputs, classes,
                subject.absent, steps=steps, most=most_steps,
            )  # fmt: skip
            found[name] = of_layer(figures, TOLERANCE)
    return {
        "samples": len(classes),
        "blocks": found,
        "left_out": [name for name, end in ends.items() if end not in usable],
    }


def together(
    model: nn.Module,
    audited: Audited,
    subject: Subject,
    classes: Tensor,
    maps: Tensor,
    progress: Progress,
    *,
    players: int,
    budget: int,
    pictured: int,
    listed: int,
) -> Answer:
    """Return which regions act together: over all samples, and some samples one by one.

    Args:
        model: Explained.
        audited: Of the classes' names.
        subject: The samples.
        classes: Asked about.
        maps: Integrated gradients of them, by which the most important variables are found.
        progress: Gets a bar.
        players: Regions at most, where there are more variables.
        budget: Of coalitions.
        pictured: Samples that are shown one by one.
        listed: Effects in their lists.
    """
    weights = summed(maps.abs(), subject.regions).mean(0)
    limit = count_of(subject.regions) if subject.image else players
    regions, made_of = joined(subject.regions, weights, limit)
    names = names_of(subject, made_of)
    told, found = evidence(model), []
    with bar(progress, "combinations of features", len(classes)) as task:
        for x, chosen in zip(subject.inputs, classes.tolist(), strict=True):
            game = game_of(told, x, chosen, subject.absent, regions)
            found.append(interactions(game, len(made_of), budget, seed=audited.seed))
            progress.advance(task)
    labels = class_names(audited, classes, subject.targets)
    shown = []
    for i, each in enumerate(found[:pictured]):
        sample: Answer = {
            "row": int(subject.rows[i]),
            "answer": labels[int(classes[i])],
            "class": labels[int(subject.targets[i])],
            **of_sample(each, names, listed),
        }
        if subject.image:
            sample["picture"] = picture(subject.inputs[i], subject.image)
            sample["map"] = picture(maps[i], subject.image)
        shown.append(sample)
    return {**of_interactions(found), "budget": budget, "named": names, "shown": shown}


def names_of(subject: Subject, made_of: Sequence[Sequence[int]]) -> list[str]:
    """Return what the players are called."""
    if subject.image:
        places = [divmod(i, subject.across) for i in range(len(made_of))]
        return [f"row {row + 1}, column {column + 1}" for row, column in places]
    columns = [
        (subject.regions == i).nonzero().flatten().tolist()
        for i in range(count_of(subject.regions))
    ]
    return [
        _columns(columns[each[0]]) if len(each) == 1 else f"the {len(each)} others"
        for each in made_of
    ]


def _columns(numbers: Sequence[int]) -> str:
    first, last = numbers[0], numbers[-1]
    return f"feature {first}" if first == last else f"features {first} to {last}"


def class_names(audited: Audited, *classes: Tensor) -> Sequence[str]:
    """Return the classes' names; their numbers where the data have none."""
    if audited.data.classes:
        return audited.data.classes
    return [str(i) for i in range(max(int(each.max()) for each in classes) + 1)]


def pushes(
    model: nn.Module,
    audited: Audited,
    own: Mapping[str, Tensor] | None,
    samples: int,
    test: ConceptTest,
) -> Answer:
    """Return which concepts push towards which classes, in the middle one of the hidden blocks.

    Args:
        model: Explained.
        audited: Of the data.
        own: Concepts; None for the classes' own training samples.
        samples: Of each class.
        test: How it is tested.

    Raises:
        UserError: There is no hidden block with a row for each sample.
    """
    ends = list(block_ends(audited.task, model).values())[:-1]
    inputs, targets = _drawn(audited.data.test, MOST, audited.seed)
    usable = with_rows(model, ends, inputs[:2])
    if not usable:
        raise UserError("the model has no hidden block whose output has a row for each sample")
    layer = usable[(len(usable) - 1) // 2]
    labels = class_names(audited, targets)
    asked = range(min(CLASSES, len(labels)))
    rows = torch.cat([(targets == each).nonzero().flatten()[:samples] for each in asked])
    pool, examples = _examples(audited, asked, labels, test)
    found = concepts(
        evidence(model), model.get_submodule(layer), inputs[rows], targets[rows],
        examples if own is None else own, pool, test,
    )  # fmt: skip
    return {
        "layer": layer,
        "sets": test.sets,
        "controls": test.controls,
        "level": test.level,
        "towards": sum(each.significant and each.score > each.control for each in found),
        "away": sum(each.significant and each.score < each.control for each in found),
        "pairs": of_concepts(found, labels),
    }


def _examples(
    audited: Audited, classes: Sequence[int], labels: Sequence[str], test: ConceptTest
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return random training samples, and examples of each class, which are other ones."""
    count = len(classes) * EACH * test.size
    inputs, targets = _drawn(audited.data.train, 2 * count, audited.seed)
    random = min(EACH * test.size, len(inputs) // 4)
    pool, rest, of = inputs[:random], inputs[random:], targets[random:]
    return pool, {labels[each]: rest[of == each][: EACH * test.size] for each in classes}


def _drawn(samples: Samples, count: int, seed: int) -> tuple[Tensor, Tensor]:
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(seed))
    inputs, targets = samples.batch(order[:count])
    return inputs, targets
