"""The audit section on fairness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.progress import Progress

from beyondprop.audit.base import Answer, Audited, Section
from beyondprop.audit.fairness.answer import Setting, greatest, of_attribute, of_change
from beyondprop.audit.fairness.decisions import Decisions, answers, decisions_of
from beyondprop.audit.fairness.figures import BINS, ODDS, PARITY
from beyondprop.audit.fairness.resampling import LEVEL
from beyondprop.audit.fairness.words import verdict, verdict_beside
from beyondprop.errors import UserError
from beyondprop.jobs.progress import bar
from beyondprop.measure import Column
from beyondprop.registry import check_fields
from beyondprop.tasks import Split


@dataclass(frozen=True)
class Fairness(Section):
    """Fairness: which groups a model disadvantages, for each protected attribute.

    The figures of each group and their differences are fairlearn's. The intervals come from a
    bootstrap over test samples; the answer also contains the size that a difference would have by
    chance. Groups with few people are listed, but not compared.

    Attributes:
        favourable: Name of the class that is good for a person; all others count as one class. By
            default the second of two classes; required for more than two.
        least: Minimum number of samples for a group to be compared.
        draws: Number of draws of the bootstrap and of the permutation test.
        bins: Number of probability bins of equal width, for the calibration error.

    Raises:
        UserError: A number is out of its range.
    """

    favourable: str | None = None
    least: int = 30
    draws: int = 1000
    bins: int = BINS

    name: ClassVar[str] = "fairness"
    question: ClassVar[str] = "Which groups does it treat worse?"
    packages: ClassVar[tuple[str, ...]] = ("fairlearn", "scipy")
    columns: ClassVar[tuple[Column, ...]] = (
        Column(
            f"greatest.{PARITY}",
            "parity",
            "largest difference between groups in selection rate, over all attributes",
            ".3f",
        ),
        Column(
            f"greatest.{ODDS}",
            "odds",
            "largest difference between groups in true or false positive rates",
            ".3f",
        ),
    )

    def __post_init__(self) -> None:
        check_fields(self)
        for field, low in (("least", 1), ("draws", 100), ("bins", 1)):
            if getattr(self, field) < low:
                raise UserError(f"fairness: {field} must be at least {low}")

    def ask(self, audited: Audited, progress: Progress) -> Answer:
        """Return figures by attribute and group, differences between groups, and a verdict.

        Raises:
            UserError: The test samples have no protected attributes, the task is not a
                classification, or there are several classes and none is marked as favourable.
        """
        found, favourable = self._decisions(audited)
        made: dict[str, Answer] = {}
        with bar(progress, f"{audited.name}: fairness", len(found)) as task:
            for attribute, decisions in found.items():
                made[attribute] = of_attribute(decisions, self._setting, audited.seed)
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
            UserError: As for `ask`; or the models have different test samples.
        """
        one, favourable = self._decisions(audited)
        two, _ = self._decisions(other)
        made: dict[str, Answer] = {}
        for attribute, decisions in one.items():
            change = of_change(decisions, two[attribute], self._setting, audited.seed)
            if change is not None:
                made[attribute] = change
        return {
            "first": audited.name,
            "second": other.name,
            "favourable": favourable,
            "level": LEVEL,
            "attributes": made,
            "verdict": verdict_beside(made, audited.name, other.name, favourable),
        }

    @property
    def _setting(self) -> Setting:
        return Setting(self.least, self.draws, self.bins)

    def _decisions(self, audited: Audited) -> tuple[dict[str, Decisions], str]:
        """Return the model's decisions by attribute, and the name of the favourable class."""
        data, test = audited.data, audited.data.test
        notes = test.notes if isinstance(test, Split) else {}
        names = [name for name in data.protected if name in notes]
        if not names:
            raise UserError(
                f"{audited.task.name} does not give the group of any test sample: name the "
                "columns in protected of from_csv; in Python, Split takes notes, and Data takes "
                "protected={'COLUMN': ('GROUP', 'OTHER GROUP')}"
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
            f"{task} {what} {len(classes)} classes: name the one that is good for a person by "
            f"Fairness(favourable=...), one of {', '.join(classes)}"
        )
