"""The data for figures of minima."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from beyondprop.report.audited.values import listed, mapped, needed, real, reals


@dataclass(frozen=True)
class Minimum:
    """The loss around the end of training.

    Attributes:
        largest: The largest eigenvalues of the Hessian, in decreasing order.
        smallest: Its smallest eigenvalue.
        line: The losses by position along a random direction.
        places: The positions of the grid along each of two directions.
        plane: The losses on the grid, row by row.
    """

    largest: tuple[float | None, ...]
    smallest: float | None
    line: Mapping[float, float | None]
    places: tuple[float, ...]
    plane: tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True)
class Path:
    """The losses between two networks, with the barrier above both ends."""

    losses: tuple[float | None, ...]
    barrier: float | None


@dataclass(frozen=True)
class Connection:
    """The straight line between the weights of two networks.

    Attributes:
        places: The positions, from 0, the first network, to 1.
        plain: The path between the unchanged weights.
        matched: The path after the second network's units were permuted to match the first; None if
            they can't be matched.
        unmatched: The reason for that, or empty.
    """

    places: tuple[float, ...]
    plain: Path
    matched: Path | None
    unmatched: str


def read_minimum(answer: Mapping[str, Any]) -> Minimum:
    """Return the data of a result; raises one of `read.UNREADABLE` if it is damaged."""
    bent, around = mapped(answer["curvature"]), mapped(answer["landscape"])
    line, plane = mapped(around["line"]), mapped(around["plane"])
    along = _places(line["places"])
    places = _places(plane["places"])
    rows = tuple(reals(row, len(places)) for row in listed(plane["losses"]))
    if len(rows) != len(places):
        raise ValueError("the grid of losses is not square")
    return Minimum(
        largest=reals(bent["largest"]),
        smallest=real(bent["smallest"]),
        line=dict(zip(along, reals(line["losses"], len(along)), strict=True)),
        places=places,
        plane=rows,
    )


def read_connection(answer: Mapping[str, Any]) -> Connection:
    """Return the data of two runs; raises one of `read.UNREADABLE` if it is damaged."""
    places = _places(answer["places"])
    matched = answer.get("matched")
    return Connection(
        places=places,
        plain=_path(mapped(answer["plain"]), len(places)),
        matched=None if matched is None else _path(mapped(matched), len(places)),
        unmatched=str(answer.get("unmatched") or ""),
    )


def _path(found: Mapping[str, Any], size: int) -> Path:
    return Path(reals(found["losses"], size), real(found.get("barrier")))


def _places(value: Any) -> tuple[float, ...]:
    found = tuple(needed(each) for each in listed(value))
    if len(found) < 2 or len(set(found)) < len(found):
        raise ValueError("the places are not on a line")
    return tuple(found)
