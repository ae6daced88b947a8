"""The data for figures of forgetting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from beyondprop.report.audited.values import listed, needed, reals


@dataclass(frozen=True)
class Forgetting:
    """Scores while experiences are learned one after another.

    Attributes:
        stream: The stream of experiences.
        experiences: The names of the experiences.
        rows: ``rows[i][j]`` is the score on experience j after learning experience i.
        average: The mean of the last row.
        floor: The score of a model that learned only the last experience.
        ceiling: The score of a model that learned all experiences together.
    """

    stream: str
    experiences: tuple[str, ...]
    rows: tuple[tuple[float | None, ...], ...]
    average: float
    floor: float
    ceiling: float


def read_forgetting(answer: Mapping[str, Any]) -> Forgetting:
    """Return the data of a result; raises one of `read.UNREADABLE` if it is damaged."""
    names = tuple(str(each) for each in listed(answer["experiences"]))
    rows = tuple(reals(row, len(names)) for row in listed(answer["rows"]))
    if len(rows) != len(names) or len(names) < 2:
        raise ValueError("the matrix of scores is not square")
    return Forgetting(
        stream=str(answer["stream"]),
        experiences=names,
        rows=rows,
        average=needed(answer["average"]),
        floor=needed(answer["floor"]),
        ceiling=needed(answer["ceiling"]),
    )
