"""What pictures of robustness are drawn of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from beyondprop.report.audited.values import count, listed, mapped, needed, share


@dataclass(frozen=True)
class Damage:
    """A corruption.

    Attributes:
        name: Of the kind.
        unit: What a strength is.
        accuracies: By strength, in the order from weak to strong.
    """

    name: str
    unit: str
    accuracies: Mapping[float, float]


@dataclass(frozen=True)
class Robustness:
    """Accuracy under attacks and corruptions.

    Attributes:
        samples: That were asked.
        curve: Accuracy under the attack by gradients, by ε.
        epsilon: At which the other attacks run.
        attacks: Accuracy by the attack's name, at that ε.
        masked: Whether gradients hide how the model is fooled.
        hidden: How many samples fall to the attack without gradients alone.
        corruptions: In their order.
    """

    samples: int
    curve: Mapping[float, float]
    epsilon: float
    attacks: Mapping[str, float]
    masked: bool
    hidden: int
    corruptions: tuple[Damage, ...]


def read_robustness(answer: Mapping[str, Any]) -> Robustness:
    """Return what an answer says; raises one of `read.UNREADABLE` where it is damaged."""
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
