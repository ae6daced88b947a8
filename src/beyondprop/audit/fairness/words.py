"""The fairness figures in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from beyondprop.audit.fairness.figures import ODDS, PARITY
from beyondprop.audit.fairness.resampling import LEVEL

RATES = {
    "selection_rate": "are classified as {0!r}",
    "accuracy": "are classified correctly",
    "true_positive_rate": "are correctly classified as {0!r}",
    "false_positive_rate": "are wrongly classified as {0!r}",
}
"""What a rate counts; follows "people of a group" and contains the favourable class."""


def verdict(attributes: Mapping[str, Any], favourable: str) -> str:
    """Return a sentence on the attribute with the largest difference, and the group worst off."""
    told = {name: each for name, each in attributes.items() if each["differences"]}
    if not told:
        return f"By {_listed(list(attributes))}, no two groups have enough test samples to compare."
    name = max(told, key=lambda each: told[each]["differences"][PARITY]["low"])
    found = told[name]
    parity, odds = (found["differences"][each] for each in (PARITY, ODDS))
    shares = {each["group"]: each["selection_rate"] for each in found["groups"]}
    if not shares or "selection_rate" not in found["worst"]:
        return (
            f"By {_listed(list(told))}, every group is classified as {favourable!r} equally often."
        )
    worst = found["worst"]["selection_rate"]
    small = {each["group"] for each in found["left_out"]}
    best = max((each for each in shares if each not in small), key=shares.__getitem__)
    real = parity["p"] is not None and parity["p"] < 1 - LEVEL
    sure = "" if real else ", which chance also produces"
    return (
        f"By {name}, the group {worst} fares worst: {shares[worst]:.1%} of it are classified as "
        f"{favourable!r}, against {shares[best]:.1%} of the group {best}. The difference is "
        f"{_figure(parity)}{sure}; in the data it is {found['in_data']:.3f}. The equalised odds "
        f"difference of the model is {_figure(odds)}."
    )


def verdict_beside(attributes: Mapping[str, Any], one: str, other: str, favourable: str) -> str:
    """Return a sentence on the most significant difference of treatment between two models."""
    found = [
        (row["p"], -abs(row["difference"]), name, row)
        for name, each in attributes.items()
        for row in each["groups"]
    ]
    if not found:
        return "No two groups have enough test samples to compare."
    real = [each for each in found if each[-1]["real"]]
    if not real:
        return f"{one} and {other} show no difference beyond test-sample noise in any group."
    _, _, name, row = min(real, key=lambda each: each[:3])
    more = "more" if row["difference"] > 0 else "less"
    what = RATES[row["rate"]].format(favourable)
    others = f". {len(real) - 1} other rates of groups differ too" if len(real) > 1 else ""
    return (
        f"By {name}, members of the group {row['group']} {what} {abs(row['difference']):.1%} "
        f"{more} often with {one} than with {other} ({row['low']:+.3f} to "
        f"{row['high']:+.3f}){others}."
    )


def _figure(found: Mapping[str, Any]) -> str:
    if found["value"] is None:
        return "not defined"
    return f"{found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f})"


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
