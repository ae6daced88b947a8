"""The parts of an audit that a report uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from beyondprop.measure import Column
from beyondprop.report.records import TaskFacts
from beyondprop.report.text import is_shortened, label

T = TypeVar("T")


@dataclass(frozen=True)
class Asked:
    """A section of an audit.

    Attributes:
        name: Its short name.
        question: The question in the report.
        columns: The figures of a result that tables show.
    """

    name: str
    question: str
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class OfRun:
    """The results of one run, by the section's name.

    Attributes:
        rule: The rule that trained it.
        seed: The seed of the run.
        digest: The digest of its weights.
        score: The score on test data.
        figures: The figures by key; a dot separates the levels of a key.
        shown: The data for figures; see `read.READERS`.
        verdicts: The verdicts, one sentence each.
        failed: The reasons for missing results.
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
        """The run's name in records."""
        return f"{self.rule}, seed {self.seed}"


@dataclass(frozen=True)
class OfTwo:
    """The result of a section for two runs.

    Attributes:
        section: The name of the section.
        first: The first run; both runs have the same seed, or the same rule.
        second: The second run.
        shown: The data for figures; None if there are none.
        verdict: The verdict in one sentence, or empty.
        failed: The reason for a missing result, or empty.
    """

    section: str
    first: OfRun
    second: OfRun
    shown: Any
    verdict: str
    failed: str

    @property
    def name(self) -> str:
        """The names of both runs as people read them."""
        return f"{self.first.name} compared with {self.second.name}"


@dataclass(frozen=True)
class Audit:
    """An audit of trained runs.

    Attributes:
        task: The task of the runs.
        sections: The sections in their order.
        runs: The runs in their order.
        beside: The results for pairs of runs.
        spec: All settings.
        provenance: The origin of the record.
    """

    task: TaskFacts
    sections: tuple[Asked, ...]
    runs: tuple[OfRun, ...]
    beside: tuple[OfTwo, ...]
    spec: Mapping[str, Any]
    provenance: Mapping[str, Any]

    @property
    def rules(self) -> list[str]:
        """The names of the rules, in the order of the runs."""
        return list(dict.fromkeys(run.rule for run in self.runs))

    @property
    def seeds(self) -> list[int]:
        """The seeds of all runs, in increasing order."""
        return sorted({run.seed for run in self.runs})

    def of(self, rule: str) -> list[OfRun]:
        """Return the runs of a rule."""
        return [run for run in self.runs if run.rule == rule]

    def answers(self, kind: type[T]) -> dict[str, list[T]]:
        """Return the results of one type by rule, in the order of its runs."""
        found = {
            rule: [
                each for run in self.of(rule) for each in run.shown.values() if type(each) is kind
            ]
            for rule in self.rules
        }
        return {rule: each for rule, each in found.items() if each}

    def pairs(self, kind: type[T]) -> list[tuple[OfTwo, T]]:
        """Return the results of one type for pairs of runs."""
        return [(each, each.shown) for each in self.beside if type(each.shown) is kind]

    def first_seeds(self, kind: type[T]) -> dict[str, int]:
        """Return, by rule, the seed of the first result of one type."""
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
    """Return a rule's name for sentences: without commas, which separate the names of a list."""
    name, _, task = label(rule).partition(", ")
    if not task:
        return name
    return f"{name if is_shortened(rule) else label(name)} ({task})"


def figures_of(runs: Sequence[OfRun], section: str, key: str) -> dict[int, float]:
    """Return a figure of runs by seed; runs without it are left out."""
    found = {run.seed: run.figures.get(section, {}).get(key) for run in runs}
    return {seed: value for seed, value in found.items() if value is not None}
