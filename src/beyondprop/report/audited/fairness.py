"""The data for figures of fairness."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from beyondprop.report.audited.values import Span, count, listed, mapped, real, share, span

RATES = {
    "selection_rate": "classified as favourable",
    "true_positive_rate": "of those truly favourable",
    "false_positive_rate": "of those truly not favourable",
    "accuracy": "judged rightly",
}
"""The headings of panels by rate."""
PARITY, ODDS = "demographic_parity_difference", "equalized_odds_difference"
APART = {
    PARITY: "Demographic parity difference",
    ODDS: "Equalised odds difference",
    "accuracy_difference": "Accuracy difference",
    "calibration_error_difference": "Calibration error difference",
}
"""The headings of tables by difference between groups."""


@dataclass(frozen=True)
class Group:
    """The people of one group.

    Attributes:
        name: The name of the group.
        samples: The number of samples.
        rates: The rates by name, without undefined ones.
        intervals: The intervals of the rates over test samples, without unknown ones.
    """

    name: str
    samples: int
    rates: Mapping[str, float]
    intervals: Mapping[str, Span]


@dataclass(frozen=True)
class Attribute:
    """A protected attribute.

    Attributes:
        groups: The groups in their order.
        left_out: The names of groups with too few samples.
        differences: The differences between groups by name, without undefined ones.
        in_data: The difference between the groups in the data themselves.
        worst: The group with the worst value of each rate.
    """

    groups: tuple[Group, ...]
    left_out: tuple[str, ...]
    differences: Mapping[str, float]
    in_data: float | None
    worst: Mapping[str, str]

    @property
    def counted(self) -> list[str]:
        """The groups with enough samples."""
        return [each.name for each in self.groups if each.name not in self.left_out]


@dataclass(frozen=True)
class Fairness:
    """The treatment of groups by a model.

    Attributes:
        favourable: The class that is good for a person.
        attributes: The protected attributes by name.
    """

    favourable: str
    attributes: Mapping[str, Attribute]


def read_fairness(answer: Mapping[str, Any]) -> Fairness:
    """Return the data of a result; raises one of `read.UNREADABLE` if it is damaged."""
    attributes = mapped(answer["attributes"])
    return Fairness(
        favourable=str(answer["favourable"]),
        attributes={str(name): _attribute(mapped(each)) for name, each in attributes.items()},
    )


def figures_of(found: Fairness) -> dict[str, float | None]:
    """Return the differences between groups by the keys of attributes and differences."""
    return {
        key_of(name, difference): value
        for name, each in found.attributes.items()
        for difference, value in each.differences.items()
    }


def key_of(attribute: str, difference: str) -> str:
    """Return the key of a difference between groups."""
    return f"attributes.{attribute}.differences.{difference}.value"


def _attribute(found: Mapping[str, Any]) -> Attribute:
    apart = mapped(found["differences"])
    values = {str(name): real(mapped(each)["value"]) for name, each in apart.items()}
    return Attribute(
        groups=tuple(_group(mapped(each)) for each in listed(found["groups"])),
        left_out=tuple(str(each["group"]) for each in listed(found["left_out"])),
        differences={name: value for name, value in values.items() if value is not None},
        in_data=real(found.get("in_data")),
        worst={str(k): str(v) for k, v in mapped(found.get("worst") or {}).items()},
    )


def _group(found: Mapping[str, Any]) -> Group:
    spans = {name: span(mapped(found.get("intervals") or {}).get(name)) for name in RATES}
    return Group(
        name=str(found["group"]),
        samples=count(found["samples"]),
        rates={name: share(value) for name in RATES if (value := found.get(name)) is not None},
        intervals={name: each for name, each in spans.items() if each is not None},
    )
