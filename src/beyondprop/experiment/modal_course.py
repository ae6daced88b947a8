"""How soon a training got somewhere: by epochs, floating-point operations and seconds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

NEAR = 0.05
"""Of the way from the first loss to the best one what may be left where a modality has converged.
"""


def course(
    operations: Sequence[float],
    seconds: Sequence[float],
    scores: Sequence[float],
    before: tuple[float, float] = (0.0, 0.0),
) -> list[dict[str, float]]:
    """Return where a training stood behind each epoch.

    Args:
        operations: Of each epoch.
        seconds: The same.
        scores: On validation data behind each epoch.
        before: Operations and seconds of what came before the first epoch.

    Returns:
        For each epoch its validation ``score``, and the ``operations`` and ``seconds`` until then.
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
    """Return the operations and seconds behind which a validation score is first as good as this.

    Args:
        course: As `course` returns it.
        target: A validation score.

    Returns:
        ``epoch`` (from 1), ``operations`` and ``seconds``; None where it is never reached.
    """
    for epoch, each in enumerate(course, 1):
        if each["score"] is not None and each["score"] >= target:
            return {"epoch": epoch} | {key: each[key] for key in ("operations", "seconds")}
    return None


def converged(
    start: float, losses: Sequence[float | None], course: Sequence[Mapping[str, Any]]
) -> dict[str, float] | None:
    """Return after how many epochs a modality had converged, at what computation.

    That is the first epoch behind which the validation loss is at most
    ``best + 0.05 (start - best)``: 95 % of the way from the loss of the untrained network to the
    least one of the whole training are done. It needs no threshold that would have to suit a task,
    and later epochs without a gain, as many as the patience, do not count.

    Args:
        start: The validation loss before training.
        losses: Behind each epoch; None where it is no number.
        course: As `course` returns it.

    Returns:
        ``epochs``, ``operations`` and ``seconds``; None where the loss never fell.
    """
    known = [each if each is not None else math.inf for each in losses]
    best = min(known, default=math.inf)
    if not (math.isfinite(start) and best < start):
        return None
    near = best + NEAR * (start - best)
    epoch = next(place for place, loss in enumerate(known) if loss <= near)
    return {"epochs": epoch + 1} | {key: course[epoch][key] for key in ("operations", "seconds")}


def costs(seed: Mapping[str, Any], method: str) -> Mapping[str, float] | None:
    """Return what a method of a seed's record took to the target; None where it never got there."""
    found: Mapping[str, float] | None = seed["methods"][method].get("to_target")
    return found


def steps_by_epoch(steps: int, length: int) -> Iterator[int]:
    """Yield the steps of each epoch, all but the last with as many as there are batches."""
    for done in range(0, steps, length):
        yield min(length, steps - done)
