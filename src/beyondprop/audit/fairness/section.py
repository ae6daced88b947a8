"""The section of the audit that asks whom a model treats worse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np
from rich.progress import Progress

from beyondprop.audit.base import Answer, Audited, Section
from beyondprop.audit.fairness.decisions import Decisions, answers, decisions_of
from beyondprop.audit.fairness.figures import (
    BINS,
    DIFFERENCES,
    ODDS,
    PARITY,
    Figures,
    by_group,
    differences,
    plain,
    reliability,
)
from beyondprop.audit.fairness.paired import Change, changes
from beyondprop.audit.fairness.resampling import LEVEL, Interval, chance, intervals
from beyondprop.audit.fairness.words import verdict, verdict_beside
from beyondprop.errors import UserError
from beyondprop.jobs.progress import bar
from beyondprop.measure import Column
from beyondprop.tasks import Split


@dataclass(frozen=True)
class Fairness(Section):
    """Fairness: whom a model treats worse, by each protected attribute of the test samples.

    Figures of each group and their differences are fairlearn's. Intervals are of a bootstrap over
    test samples; beside them stands what a difference would be by chance. Groups with few people
    are named and left out of the differences.

    Attributes:
        favourable: Name of the class that is good for a person; all others are taken together. By
            default the second of two classes; of more, it must be said.
        least: Samples that a group needs to count.
        draws: Of the bootstrap, and of groups by chance.
        bins: Of probabilities, equally wide, for the calibration error.

    Raises:
        UserError: A number is out of its range.
    """

    favourable: str | None = None
    least: int = 30
    draws: int = 1000
    bins: int = BINS

    name: ClassVar[str] = "fairness"
    question: ClassVar[str] = "Whom does it treat worse?"
    packages: ClassVar[tuple[str, ...]] = ("fairlearn", "scipy")
    columns: ClassVar[tuple[Column, ...]] = (
        Column(
            f"greatest.{PARITY}",
            "parity",
            "greatest difference between groups in how many are selected, of all attributes",
            ".3f",
        ),
        Column(
            f"greatest.{ODDS}",
            "odds",
            "greatest difference between groups in true or false positive rates",
            ".3f",
        ),
    )

    def __post_init__(self) -> None:
        for field, low in (("least", 1), ("draws", 100), ("bins", 1)):
            if getattr(self, field) < low:
                raise UserError(f"fairness: {field} must be {low} at least")

    def ask(self, audited: Audited, progress: Progress) -> Answer:
        """Return figures by attribute and group, differences between groups, and a verdict.

        Raises:
            UserError: The test samples have no protected attributes, the task is no classification,
                or of several classes none is said to be favourable.
        """
        found, favourable = self._decisions(audited)
        made: dict[str, Answer] = {}
        with bar(progress, f"{audited.name}: fairness", len(found)) as task:
            for attribute, decisions in found.items():
                made[attribute] = self._of_attribute(decisions, audited.seed)
                progress.advance(task)
        return {
            "favourable": favourable,
            "samples": len(audited.data.test),
            "level": LEVEL,
            "least": self.least,
            "attributes": made,
            "greatest": {name: greatest(made, name) for name in (PARITY, ODDS)},
            "verdict": verdict(made, favourable),
        }

    def beside(self, audited: Audited, other: Audited) -> Answer:
        """Return how each group's treatment differs between two models, over the same people.

        Raises:
            UserError: As `ask`; or the models have different test samples.
        """
        one, favourable = self._decisions(audited)
        two, _ = self._decisions(other)
        made: dict[str, Answer] = {}
        for attribute, decisions in one.items():
            kept = self._kept(decisions)
            if len(kept) < 2:
                continue
            pair = decisions.of_groups(kept), two[attribute].of_groups(kept)
            of_groups, apart = changes(*pair, self.draws, audited.seed, self.bins)
            made[attribute] = {
                "groups": _rows(of_groups),
                "differences": {
                    name: {"difference": value, **_ends(ends)}
                    for name, (value, ends) in apart.items()
                },
            }
        return {
            "first": audited.name,
            "second": other.name,
            "favourable": favourable,
            "level": LEVEL,
            "attributes": made,
            "verdict": verdict_beside(made, audited.name, other.name, favourable),
        }

    def _of_attribute(self, decisions: Decisions, seed: int) -> Answer:
        """Return what is found by one attribute."""
        kept, sizes = self._kept(decisions), decisions.sizes.tolist()
        figures, curves = by_group(decisions, self.bins), {}
        for number, name in enumerate(decisions.names):
            if name in figures:
                curves[name] = reliability(decisions.of_groups([number]), self.bins)
        small = [
            {"group": name, "samples": size}
            for name, size in zip(decisions.names, sizes, strict=True)
            if size < self.least
        ]
        ends: dict[str, Answer] = {}
        apart: Answer = {}
        in_data = None
        counted = decisions.of_groups(kept) if len(kept) > 1 else None
        if counted:
            apart, ends = self._differences(counted, seed)
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

    def _differences(self, counted: Decisions, seed: int) -> tuple[Answer, dict[str, Answer]]:
        """Return differences between groups, and the intervals of each group's figures."""
        found = differences(counted, self.bins)
        apart, each = intervals(counted, self.draws, seed, self.bins)
        by_chance = chance(counted, self.draws, seed, self.bins)
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

    def _kept(self, decisions: Decisions) -> list[int]:
        return np.flatnonzero(decisions.sizes >= self.least).tolist()

    def _decisions(self, audited: Audited) -> tuple[dict[str, Decisions], str]:
        """Return the model's decisions by each attribute, and the favourable class's name."""
        data, test = audited.data, audited.data.test
        notes = test.notes if isinstance(test, Split) else {}
        names = [name for name in data.protected if name in notes]
        if not names:
            raise UserError(
                f"{audited.task.name} says of no test sample which group it belongs to: name the "
                "columns by Task.from_csv(..., protected=('gender',)), or give a Split notes and "
                "the Data protected={'gender': ('female', 'male')}"
            )
        outputs, targets = answers(audited.build(), test)
        classes = data.classes or tuple(map(str, range(outputs.shape[-1])))
        number = self._favourable(classes, audited.task.name)
        found = {
            name: decisions_of(outputs, targets, number, notes[name], data.protected[name])
            for name in names
        }
        return found, classes[number]

    def _favourable(self, classes: Sequence[str], task: str) -> int:
        if self.favourable is None and len(classes) == 2:
            return 1
        if self.favourable in classes:
            return classes.index(self.favourable)
        what = "has" if self.favourable is None else f"has no class {self.favourable!r} among"
        raise UserError(
            f"{task} {what} {len(classes)} classes: say which is good for a person, by "
            f"Fairness(favourable=...), one of {', '.join(classes)}"
        )


WORST: Mapping[str, int] = {
    "selection_rate": 1,
    "true_positive_rate": 1,
    "accuracy": 1,
    "calibration_error": -1,
}
"""Figures by which a group is treated worse: the smallest, or with -1 the largest."""


def _worst(figures: Mapping[str, Figures]) -> dict[str, str]:
    """Return by figure the group that is treated worst; none where two are treated alike."""
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
    """Return the greatest difference of a name over all attributes; None where none has it."""
    found = [each["differences"].get(name, {}).get("value") for each in attributes.values()]
    return max((each for each in found if each is not None), default=None)
