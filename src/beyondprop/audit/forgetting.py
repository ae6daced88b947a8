"""Forgetting: a rule learns classes one after another, and all of them are tested after each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import mean
from typing import ClassVar

from rich.progress import Progress

from beyondprop.audit.base import Answer, Audited, Section
from beyondprop.continual import Learned, Stream, learn, learn_together, make, pairs_of
from beyondprop.continual.streams import permuted, split_classes
from beyondprop.measure import Column
from beyondprop.registry import check_fields
from beyondprop.registry.limits import Count
from beyondprop.tasks import Data

CLASSES = 4
"""Minimum number of classes for learning pairs of classes in turn (the last group of an odd number
has three). With fewer classes, shuffled inputs are learned in turn.
"""


@dataclass(frozen=True)
class Forgetting(Section):
    """Classes are learned in pairs, one after another, by the rule alone.

    With fewer than four classes, the same samples are learned with their numbers in different
    orders. The floor is the score of a model that knows only the last experience, as well as this
    one does; the ceiling is the score of the same rule when it learns all experiences together,
    with the same number of passes.

    Args:
        epochs: Passes over each experience.
        orders: Number of orders for shuffled inputs.
    """

    name: ClassVar[str] = "forgetting"
    question: ClassVar[str] = "What does it forget?"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("average", "kept", "score on all experiences at the end", ".3f"),
        Column("forgetting", "forgotten", "fall of the scores from their best", ".3f"),
        Column("floor", "floor", "score of a model that knows only the last experience", ".3f"),
        Column("ceiling", "ceiling", "score when all experiences are learned at once", ".3f"),
    )
    epochs: Count = 2
    orders: Count = 5

    def __post_init__(self) -> None:
        check_fields(self)

    def ask(self, audited: Audited, progress: Progress) -> Answer:
        """Return the matrix of scores, its measures, the floor and the ceiling.

        Raises:
            UserError: The task's inputs are several tensors, or training fails.
        """
        stream = stream_of(audited.data, self.orders)
        recipe = replace(audited.recipe, epochs=self.epochs, seed=audited.seed)
        reached = learn(stream, audited.task, make("plain"), recipe, progress)
        found = reached.matrix
        top = learn_together(stream, audited.task, recipe, progress)
        return {
            "stream": stream.name,
            "experiences": [each.name for each in stream.experiences],
            "before": list(found.before),
            "rows": [list(row) for row in found.rows],
            "average": found.average,
            "learned": found.learned,
            "forgetting": found.forgetting,
            "backward_transfer": found.backward_transfer,
            "forward_transfer": found.forward_transfer,
            "floor": reached.floor,
            "ceiling": mean(top),
            "verdict": verdict(stream, reached, mean(top)),
        }


def stream_of(data: Data, orders: int) -> Stream:
    """Return the stream to learn: pairs of classes, or orders of the numbers."""
    if len(data.classes) >= CLASSES:
        return split_classes(data, pairs_of(data))
    return permuted(data, orders)


def verdict(stream: Stream, found: Learned, ceiling: float) -> str:
    """Return the result in one sentence."""
    matrix = found.matrix
    kept = f"{matrix.average:.3f} on all at the end, between a floor of {found.floor:.3f} (the last"
    return (
        f"Over {len(stream)} experiences ({stream.name}), it scores {matrix.learned:.3f} right "
        f"after learning each and {kept} experience alone) and a ceiling of {ceiling:.3f} (all at "
        f"once). Forgetting is {matrix.forgetting:.3f}"
    )
