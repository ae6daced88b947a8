"""The data for figures of calibration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from beyondprop.report.audited.values import count, listed, mapped, share


@dataclass(frozen=True)
class Bin:
    """Predictions of similar confidence.

    Attributes:
        count: The number of predictions.
        confidence: Their mean confidence.
        accuracy: The share that is correct.
    """

    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """The relation of confidence and accuracy.

    Attributes:
        samples: The number of samples.
        bins: Bins by increasing confidence, without empty ones.
        error: The expected calibration error.
        chance: The largest error that a calibrated model has by chance; None if unknown.
    """

    samples: int
    bins: tuple[Bin, ...]
    error: float
    chance: float | None


def read_calibration(answer: Mapping[str, Any]) -> Calibration:
    """Return the data of a result; raises one of `read.UNREADABLE` if it is damaged."""
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
