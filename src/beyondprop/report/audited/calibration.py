"""What pictures of calibration are drawn of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from beyondprop.report.audited.values import count, listed, mapped, share


@dataclass(frozen=True)
class Bin:
    """Forecasts of about one confidence.

    Attributes:
        count: How many there are.
        confidence: How sure they are on average.
        accuracy: Which share came true.
    """

    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """How confidence and accuracy go together.

    Attributes:
        samples: That were asked.
        bins: By rising confidence; without the empty ones.
        error: The expected calibration error.
        chance: What a calibrated model's error may be by chance, at most; None where unknown.
    """

    samples: int
    bins: tuple[Bin, ...]
    error: float
    chance: float | None


def read_calibration(answer: Mapping[str, Any]) -> Calibration:
    """Return what an answer says; raises one of `read.UNREADABLE` where it is damaged."""
    found = mapped(mapped(answer["named"])["equal_width"])
    bins = [
        Bin(count(each["count"]), share(each["confidence"]), share(each["accuracy"]))
        for each in listed(found["curve"])
    ]
    if not bins:
        raise ValueError("the reliability curve has no points")
    chance = found.get("by_chance")
    return Calibration(
        samples=count(answer["samples"]),
        bins=tuple(sorted(bins, key=lambda each: each.confidence)),
        error=share(found["error"]),
        chance=None if chance is None else share(listed(chance)[-1]),
    )
