"""The section's answer for one attribute, as JSON values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from beyondprop.audit.base import Answer
from beyondprop.audit.fairness.decisions import Decisions
from beyondprop.audit.fairness.figures import (
    DIFFERENCES,
    Figures,
    by_group,
    differences,
    plain,
    reliability,
)
from beyondprop.audit.fairness.paired import Change, changes
from beyondprop.audit.fairness.resampling import Interval, chance, intervals


@dataclass(frozen=True)
class Setting:
    """The settings for one attribute.

    Attributes:
        least: Minimum number of samples for a group to be compared.
        draws: Number of draws of the bootstrap and of the permutation test.
        bins: Number of probability bins.
    """

    least: int
    draws: int
    bins: int

    def kept(self, decisions: Decisions) -> list[int]:
        """Return the groups that are large enough to be compared."""
        return np.flatnonzero(decisions.sizes >= self.least).tolist()


def of_attribute(decisions: Decisions, setting: Setting, seed: int) -> Answer:
    """Return the figures of each group of one attribute, and the differences between the groups."""
    kept, sizes = setting.kept(decisions), decisions.sizes.tolist()
    figures, curves = by_group(decisions, setting.bins), {}
    for number, name in enumerate(decisions.names):
        if name in figures:
            curves[name] = reliability(decisions.of_groups([number]), setting.bins)
    small = [
        {"group": name, "samples": size}
        for name, size in zip(decisions.names, sizes, strict=True)
        if size < setting.least
    ]
    ends: dict[str, Answer] = {}
    apart: Answer = {}
    in_data = None
    counted = decisions.of_groups(kept) if len(kept) > 1 else None
    if counted:
        apart, ends = _differences(counted, setting, seed)
        true = [figures[name]["base_rate"] or 0.0 for name in counted.names]
        in_data = max(true) - min(true)
    groups = [
        {
            "group": name,
            "samples": sizes[number],
            **figures[name],
            "intervals": ends.get(name, {}),
            "reliability": curves[name],
        }
        for number, name in enumerate(decisions.names)
        if name in figures
    ]
    return {
        "groups": groups,
        "left_out": small,
        "differences": apart,
        "in_data": in_data,
        "worst": _worst({name: figures[name] for name in counted.names}) if counted else {},
    }


def _differences(
    counted: Decisions, setting: Setting, seed: int
) -> tuple[Answer, dict[str, Answer]]:
    """Return the differences between groups, and the intervals of each group's figures."""
    found = differences(counted, setting.bins)
    apart, each = intervals(counted, setting.draws, seed, setting.bins)
    by_chance = chance(counted, setting.draws, seed, setting.bins)
    made: Answer = {}
    for name in DIFFERENCES:
        drawn = by_chance[name]
        made[name] = {
            "value": plain(found[name]),
            **_ends(apart[name]),
            "by_chance": None if drawn is None else drawn.limit,
            "p": None if drawn is None else drawn.p,
        }
    ends = {
        group: {name: None if got is None else [got.low, got.high] for name, got in own.items()}
        for group, own in zip(counted.names, each, strict=True)
    }
    return made, ends


def of_change(one: Decisions, other: Decisions, setting: Setting, seed: int) -> Answer | None:
    """Return how the treatment of each group differs between two models, or None if fewer than
    two groups are large enough.
    """
    kept = setting.kept(one)
    if len(kept) < 2:
        return None
    pair = one.of_groups(kept), other.of_groups(kept)
    of_groups, apart = changes(*pair, setting.draws, seed, setting.bins)
    return {
        "groups": _rows(of_groups),
        "differences": {
            name: {"difference": value, **_ends(ends)} for name, (value, ends) in apart.items()
        },
    }


WORST: Mapping[str, int] = {
    "selection_rate": 1,
    "true_positive_rate": 1,
    "accuracy": 1,
    "calibration_error": -1,
}
"""Figures that define the worst treatment: 1 means the smallest value is worst, -1 the largest."""


def _worst(figures: Mapping[str, Figures]) -> dict[str, str]:
    """Return by figure the group that is treated worst; figures with a tie are left out."""
    made = {}
    for key, sign in WORST.items():
        known = {
            name: sign * value for name, each in figures.items() if (value := each[key]) is not None
        }
        if len(known) > 1 and min(known.values()) < max(known.values()):
            made[key] = min(known, key=known.__getitem__)
    return made


def _rows(found: Sequence[Change]) -> list[Answer]:
    return [
        {
            "group": each.group,
            "rate": each.rate,
            "difference": each.difference,
            **_ends(each.interval),
            "p": each.p,
            "real": each.real,
        }
        for each in found
    ]


def _ends(found: Interval | None) -> Answer:
    return {"low": None, "high": None} if found is None else asdict(found)


def greatest(attributes: Mapping[str, Answer], name: str) -> float | None:
    """Return the largest difference of one kind over all attributes, or None if there is none."""
    found = [each["differences"].get(name, {}).get("value") for each in attributes.values()]
    return max((each for each in found if each is not None), default=None)
