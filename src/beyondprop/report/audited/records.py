"""What a report needs of an audit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from beyondprop.measure import Column
from beyondprop.report.records import TaskFacts
from beyondprop.report.text import label

T = TypeVar("T")


@dataclass(frozen=True)
class Asked:
    """A section.

    Attributes:
        name: Its short name.
        question: As the report asks it.
        columns: Figures of an answer that tables show.
    """

    name: str
    question: str
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class OfRun:
    """What the sections say of one run; each by the section's name.

    Attributes:
        rule: That trained it.
        seed: Of the run.
        digest: Of its weights.
        score: On test data.
        figures: By their keys, with a dot before each deeper one.
        shown: What pictures are drawn of; see `read.READERS`.
        verdicts: One sentence each.
        failed: Why there is no answer.
    """

    rule: str
    seed: int
    digest: str
    score: float | None
    figures: Mapping[str, Mapping[str, float | None]]
    shown: Mapping[str, Any]
    verdicts: Mapping[str, str]
    failed: Mapping[str, str]

    @property
    def name(self) -> str:
        """As records name it."""
        return f"{self.rule}, seed {self.seed}"


@dataclass(frozen=True)
class OfTwo:
    """What a section says of two runs.

    Attributes:
        section: Its name.
        first: The one run; both are of one seed, or of one rule.
        second: The other.
        shown: What pictures are drawn of; None where there is nothing to draw.
        verdict: One sentence, or nothing.
        failed: Why there is no answer, or nothing.
    """

    section: str
    first: OfRun
    second: OfRun
    shown: Any
    verdict: str
    failed: str

    @property
    def name(self) -> str:
        """As people read it."""
        return f"{self.first.name} beside {self.second.name}"


@dataclass(frozen=True)
class Audit:
    """An audit of trained runs.

    Attributes:
        task: That they were trained on.
        sections: In their order.
        runs: In their order.
        beside: What is said of two of them.
        spec: All settings.
        provenance: Where the record comes from.
    """

    task: TaskFacts
    sections: tuple[Asked, ...]
    runs: tuple[OfRun, ...]
    beside: tuple[OfTwo, ...]
    spec: Mapping[str, Any]
    provenance: Mapping[str, Any]

    @property
    def rules(self) -> list[str]:
        """Their names, in the order of the runs."""
        return list(dict.fromkeys(run.rule for run in self.runs))

    @property
    def seeds(self) -> list[int]:
        """Of all runs, rising."""
        return sorted({run.seed for run in self.runs})

    def of(self, rule: str) -> list[OfRun]:
        """Return the runs of a rule."""
        return [run for run in self.runs if run.rule == rule]

    def answers(self, kind: type[T]) -> dict[str, list[T]]:
        """Return the answers of a kind of each rule that has one, in the order of its runs."""
        found = {
            rule: [
                each for run in self.of(rule) for each in run.shown.values() if type(each) is kind
            ]
            for rule in self.rules
        }
        return {rule: each for rule, each in found.items() if each}

    def pairs(self, kind: type[T]) -> list[tuple[OfTwo, T]]:
        """Return what is said of two runs, of a kind."""
        return [(each, each.shown) for each in self.beside if type(each.shown) is kind]

    def first_seeds(self, kind: type[T]) -> dict[str, int]:
        """Return for each rule the seed of the first answer of a kind."""
        return {
            rule: next(
                run.seed
                for run in self.of(rule)
                for each in run.shown.values()
                if type(each) is kind
            )
            for rule in self.answers(kind)
        }


def title(rule: str) -> str:
    """Return a rule's name for sentences: without a comma, which parts the names of a list."""
    name, _, task = label(rule).partition(", ")
    return f"{label(name)} ({task})" if task else name


def figures_of(runs: Sequence[OfRun], section: str, key: str) -> dict[int, float]:
    """Return a figure of runs by seed; those without are left out."""
    found = {run.seed: run.figures.get(section, {}).get(key) for run in runs}
    return {seed: value for seed, value in found.items() if value is not None}
