"""The data for figures of robustness."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from beyondprop.report.audited.values import count, listed, mapped, needed, share


@dataclass(frozen=True)
class Damage:
    """The accuracies under one corruption.

    Attributes:
        name: The kind of corruption.
        unit: The unit of the strength.
        accuracies: The accuracies by strength, from weak to strong.
    """

    name: str
    unit: str
    accuracies: Mapping[float, float]


@dataclass(frozen=True)
class Robustness:
    """Accuracy under attacks and corruptions.

    Attributes:
        samples: The number of samples.
        curve: The accuracy under the gradient attack by ε.
        epsilon: The ε of the other attacks.
        attacks: The accuracy by the attack's name at that ε.
        masked: Whether the gradients are masked, so that gradient attacks overstate the robustness.
        hidden: The number of samples that only the attack without gradients fools.
        corruptions: The corruptions in their order.
    """

    samples: int
    curve: Mapping[float, float]
    epsilon: float
    attacks: Mapping[str, float]
    masked: bool
    hidden: int
    corruptions: tuple[Damage, ...]


def read_robustness(answer: Mapping[str, Any]) -> Robustness:
    """Return the data of a result; raises one of `read.UNREADABLE` if it is damaged."""
    curve = {needed(each["epsilon"]): share(each["accuracy"]) for each in listed(answer["curve"])}
    if not curve:
        raise ValueError("the curve has no points")
    masking = mapped(answer["masking"])
    return Robustness(
        samples=count(answer["samples"]),
        curve=dict(sorted(curve.items())),
        epsilon=needed(answer["epsilon"]),
        attacks={str(each["name"]): share(each["accuracy"]) for each in listed(answer["attacks"])},
        masked=bool(masking["masked"]),
        hidden=count(masking["without"]),
        corruptions=tuple(_damage(each) for each in listed(answer["corruptions"])),
    )


def _damage(found: Mapping[str, Any]) -> Damage:
    strengths = listed(found["strengths"])
    made = {needed(each["strength"]): share(each["accuracy"]) for each in strengths}
    if not made:
        raise ValueError("the corruption has no strengths")
    return Damage(str(found["name"]), str(found.get("unit") or ""), made)
