"""Which regions of an input interact."""

from __future__ import annotations

from collections.abc import Sequence

from rich.progress import Progress
from torch import Tensor, nn

from beyondprop.audit.base import Answer, Audited
from beyondprop.audit.explanations.evidence import evidence
from beyondprop.audit.explanations.figures import of_interactions, of_sample, picture
from beyondprop.audit.explanations.parts.names import class_names
from beyondprop.audit.explanations.regions import count_of, joined, summed
from beyondprop.audit.explanations.shapley import game_of, interactions
from beyondprop.audit.explanations.subject import Subject
from beyondprop.jobs.progress import bar


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
    """Return which regions interact, over all samples and for some single samples.

    Args:
        model: The explained model.
        audited: Provides the names of the classes.
        subject: The samples.
        classes: The explained classes.
        maps: Integrated gradients, used to find the most important variables.
        progress: Shows a progress bar.
        players: Maximum number of regions if there are more variables.
        budget: Number of coalitions.
        pictured: Number of samples that are shown individually.
        listed: Number of effects in their lists.
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
    """Return the names of the players."""
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
