"""The data for figures of explanations."""

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
"""The attribution that is drawn, and the baseline next to it."""
MOST_SIDE = 64
"""Most pixels along a side of a picture."""


@dataclass(frozen=True)
class Picture:
    """Grey values or an attribution map as rows of pixels."""

    rows: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Effect:
    """The effect of one region on an answer, or of two beyond their single effects.

    Attributes:
        of: The names of the regions.
        players: Their numbers.
        size: The signed size; positive values support the answer.
    """

    of: tuple[str, ...]
    players: tuple[int, ...]
    size: float


@dataclass(frozen=True)
class Sample:
    """The explanation of a model's answer for one sample.

    Attributes:
        row: Its row in the test split.
        answer: The model's answer.
        truth: The true answer.
        most: The largest effects by size.
        pairs: The largest effects of pairs.
        single: The effect of each single region.
        picture: The sample as an image; None if it is not an image.
        map: The map of integrated gradients.
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
    """The explanations of a model's answers.

    Attributes:
        samples: The number of samples.
        curves: Mean probability of the answer as regions are hidden ("deletion") or shown
            ("insertion") one after another: by attribution, then by kind.
        named: Names of the regions.
        shown: Some samples in detail.
    """

    samples: int
    curves: Mapping[str, Mapping[str, tuple[float, ...]]]
    named: tuple[str, ...]
    shown: tuple[Sample, ...]


@dataclass(frozen=True)
class Mean:
    """A mean over samples; None for no samples."""

    value: float | None
    interval: Span | None


@dataclass(frozen=True)
class Agreement:
    """The agreement of two models' explanations: rank correlations of their maps.

    Attributes:
        same: For the same samples.
        chance: For different samples.
    """

    same: Mean
    chance: Mean


def read_explanations(answer: Mapping[str, Any]) -> Explanations:
    """Return the data of a result; raises one of `read.UNREADABLE` if it is damaged."""
    found, together = mapped(answer["attribution"]), mapped(answer["interactions"])
    named = tuple(str(each) for each in listed(together["named"]))
    return Explanations(
        samples=count(answer["samples"]),
        curves={name: _curves(mapped(found[name])) for name in (METHOD, RANDOM)},
        named=named,
        shown=tuple(_sample(mapped(each), len(named)) for each in listed(together["shown"])),
    )


def read_agreement(answer: Mapping[str, Any]) -> Agreement:
    """Return the data of two runs; raises one of `read.UNREADABLE` if it is damaged."""
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
