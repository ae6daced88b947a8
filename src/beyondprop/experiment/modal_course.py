"""Progress of a training by epochs, floating-point operations and seconds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

NEAR = 0.05
"""A modality has converged when at most this fraction of its loss reduction remains."""


def course(
    operations: Sequence[float],
    seconds: Sequence[float],
    scores: Sequence[float],
    before: tuple[float, float] = (0.0, 0.0),
) -> list[dict[str, float]]:
    """Return the progress of a training after each epoch.

    Args:
        operations: Floating-point operations of each epoch.
        seconds: Seconds of each epoch.
        scores: Validation score after each epoch.
        before: Operations and seconds spent before the first epoch.

    Returns:
        For each epoch its validation ``score`` and the total ``operations`` and ``seconds`` so far.
    """
    begun, taken = before
    rows = zip(
        accumulate(operations, initial=begun), accumulate(seconds, initial=taken), strict=True
    )
    next(rows)
    return [
        {"operations": most, "seconds": long, "score": score}
        for (most, long), score in zip(rows, scores, strict=True)
    ]


def reached(course: Sequence[Mapping[str, Any]], target: float) -> dict[str, float] | None:
    """Return the operations and seconds after which the validation score first reaches a target.

    Args:
        course: As `course` returns it.
        target: A validation score.

    Returns:
        ``epoch`` (from 1), ``operations`` and ``seconds``; None if the target is never reached.
    """
    for epoch, each in enumerate(course, 1):
        if each["score"] is not None and each["score"] >= target:
            return {"epoch": epoch} | {key: each[key] for key in ("operations", "seconds")}
    return None


def converged(
    start: float, losses: Sequence[float | None], course: Sequence[Mapping[str, Any]]
) -> dict[str, float] | None:
    """Return the number of epochs until a modality converged, and their computation.

    A modality has converged after the first epoch whose validation loss is at most
    ``best + 0.05 (start - best)``, that is after 95 % of the reduction from the untrained network's
    loss to the lowest loss of the training. This needs no threshold specific to a task, and the
    epochs without improvement at the end, which the patience allows, do not count.

    Args:
        start: Validation loss before training.
        losses: Validation loss after each epoch; None if it is not a number.
        course: As `course` returns it.

    Returns:
        ``epochs``, ``operations`` and ``seconds``; None if the loss never fell.
    """
    known = [each if each is not None else math.inf for each in losses]
    best = min(known, default=math.inf)
    if not (math.isfinite(start) and best < start):
        return None
    near = best + NEAR * (start - best)
    epoch = next(place for place, loss in enumerate(known) if loss <= near)
    return {"epochs": epoch + 1} | {key: course[epoch][key] for key in ("operations", "seconds")}


def costs(seed: Mapping[str, Any], method: str) -> Mapping[str, float] | None:
    """Return the cost at which a method reached the target; None if it did not reach it."""
    found: Mapping[str, float] | None = seed["methods"][method].get("to_target")
    return found


def steps_by_epoch(steps: int, length: int) -> Iterator[int]:
    """Yield the number of steps in each epoch; every epoch but the last has ``length`` steps."""
    for done in range(0, steps, length):
        yield min(length, steps - done)
