"""What pictures of explanations are drawn of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from beyondprop.report.audited.values import (
    Span,
    count,
    listed,
    mapped,
    needed,
    real,
    reals,
    shares,
    span,
)

METHOD, RANDOM = "integrated gradients", "random"
"""The attribution that is drawn, and what it is set beside."""
MOST_SIDE = 64
"""Pixels along a side of a picture."""


@dataclass(frozen=True)
class Picture:
    """Grey values or a map: rows of pixels."""

    rows: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Effect:
    """What one region does to an answer, or two do together beyond what each does alone.

    Attributes:
        of: Their names.
        players: Their numbers.
        size: With its sign: towards the answer where it is above zero.
    """

    of: tuple[str, ...]
    players: tuple[int, ...]
    size: float


@dataclass(frozen=True)
class Sample:
    """Why a model answers so about one sample.

    Attributes:
        row: Its number in the test split.
        answer: What the model says.
        truth: What it is.
        most: The largest effects, by size.
        pairs: The largest effects of pairs.
        single: What each region does alone.
        picture: None where it is no image.
        map: Of integrated gradients.
    """

    row: int
    answer: str
    truth: str
    most: tuple[Effect, ...]
    pairs: tuple[Effect, ...]
    single: tuple[float, ...]
    picture: Picture | None
    map: Picture | None


@dataclass(frozen=True)
class Explanations:
    """Why a model answers so.

    Attributes:
        samples: That were asked.
        curves: Mean probability of the answer as regions are hidden ("deletion") or shown
            ("insertion") one after another: by attribution, then by kind.
        named: Names of the regions.
        shown: Some samples one by one.
    """

    samples: int
    curves: Mapping[str, Mapping[str, tuple[float, ...]]]
    named: tuple[str, ...]
    shown: tuple[Sample, ...]


@dataclass(frozen=True)
class Mean:
    """A mean over samples; None of none."""

    value: float | None
    interval: Span | None


@dataclass(frozen=True)
class Agreement:
    """Whether two models give the same reasons: rank correlations of their maps.

    Attributes:
        same: Of the same samples.
        chance: Of different samples.
    """

    same: Mean
    chance: Mean


def read_explanations(answer: Mapping[str, Any]) -> Explanations:
    """Return what an answer says; raises one of `read.UNREADABLE` where it is damaged."""
    found, together = mapped(answer["attribution"]), mapped(answer["interactions"])
    named = tuple(str(each) for each in listed(together["named"]))
    return Explanations(
        samples=count(answer["samples"]),
        curves={name: _curves(mapped(found[name])) for name in (METHOD, RANDOM)},
        named=named,
        shown=tuple(_sample(mapped(each), len(named)) for each in listed(together["shown"])),
    )


def read_agreement(answer: Mapping[str, Any]) -> Agreement:
    """Return what is said of two runs; raises one of `read.UNREADABLE` where it is damaged."""
    found = mapped(mapped(answer["methods"])[METHOD])
    return Agreement(_mean(mapped(found["agreement"])), _mean(mapped(found["chance"])))


def _curves(found: Mapping[str, Any]) -> dict[str, tuple[float, ...]]:
    return {name: shares(mapped(found[name])["curve"]) for name in ("deletion", "insertion")}


def _mean(found: Mapping[str, Any]) -> Mean:
    return Mean(real(found["mean"]), span(found.get("interval")))


def _sample(found: Mapping[str, Any], players: int) -> Sample:
    single = reals(found["single"], players)
    return Sample(
        row=count(found["row"]),
        answer=str(found["answer"]),
        truth=str(found["class"]),
        most=_effects(found["most"], players),
        pairs=_effects(found["most_pairs"], players),
        single=tuple(each or 0.0 for each in single),
        picture=_picture(found.get("picture")),
        map=_picture(found.get("map")),
    )


def _effects(value: Any, players: int) -> tuple[Effect, ...]:
    return tuple(_effect(mapped(each), players) for each in listed(value))


def _effect(found: Mapping[str, Any], players: int) -> Effect:
    numbers = tuple(count(each) for each in listed(found["players"]))
    names = tuple(str(each) for each in listed(found["of"]))
    if len(numbers) not in (1, 2) or len(numbers) != len(names) or max(numbers) >= players:
        raise ValueError("an effect of regions that are none")
    return Effect(names, numbers, needed(found["effect"]))


def _picture(found: Any) -> Picture | None:
    if found is None:
        return None
    height, width = (count(each) for each in listed(mapped(found)["shape"]))
    values: Sequence[float | None] = reals(found["values"], height * width)
    if not 0 < width <= MOST_SIDE or not 0 < height <= MOST_SIDE:
        raise ValueError("a picture without pixels, or with too many")
    flat = [each or 0.0 for each in values]
    return Picture(tuple(tuple(flat[i : i + width]) for i in range(0, len(flat), width)))
