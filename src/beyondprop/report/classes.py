"""The per-class picture: which classes each rule gets right, and which it confuses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from beyondprop.measure.base import ABSENT
from beyondprop.report.records import Comparison
from beyondprop.report.text import label

Counts = list[list[int]]
Table = tuple[tuple[int, ...], ...]
# With more classes than this, only the hardest are shown, without a confusion matrix.
SHOWN = 20


@dataclass(frozen=True)
class Tinted:
    """A cell: its text, and the strength of its tint, from 0 to 1."""

    text: str
    tint: float
    hint: str = ""
    diagonal: bool = False


@dataclass(frozen=True)
class Classes:
    """The per-class picture of a comparison.

    Attributes:
        rules: The displayed names of the rules that have one.
        lines: Class name, number of test examples, and an accuracy for each rule.
        names: The classes, in the order of the confusion matrices.
        confusions: For each rule, the confusion matrix over all seeds; rows are true classes.
        note: A note on what is left out.
        missing: The reason why there is no picture.
    """

    rules: tuple[str, ...] = ()
    lines: tuple[tuple[str, int, tuple[Tinted, ...]], ...] = ()
    names: tuple[str, ...] = ()
    confusions: tuple[tuple[str, tuple[tuple[Tinted, ...], ...]], ...] = ()
    note: str = ""
    missing: str = ""

    @property
    def long_names(self) -> bool:
        """Whether the names of classes are too long for the head of a column."""
        return max(map(len, self.names), default=0) > 3


def classes(comparison: Comparison) -> Classes:
    """Return the per-class picture, summed over the finished runs of each rule."""
    tables = {row.rule: _tables(comparison, row.rule) for row in comparison.rows}
    matrices = {rule: _summed(found) for rule, found in tables.items() if found}
    if not matrices:
        return Classes(missing=_why_missing(comparison))
    examples = [sum(row) for row in next(found for found in tables.values() if found)[0]]
    size = len(examples)
    names = comparison.task.classes
    if len(names) != size:
        names = tuple(map(str, range(size)))
    accuracies = {rule: _accuracies(matrix) for rule, matrix in matrices.items()}
    shown = _hardest(list(accuracies.values()))
    worst = max((1 - a for v in accuracies.values() for a in v if a is not None), default=0)
    return Classes(
        rules=tuple(label(rule) for rule in matrices),
        lines=tuple(
            (
                names[i],
                examples[i],
                tuple(_accuracy(values[i], worst) for values in accuracies.values()),
            )
            for i in shown
        ),
        names=names,
        confusions=_confusions(matrices, names) if size <= SHOWN else (),
        note=""
        if size <= SHOWN
        else f"Only the {SHOWN} hardest of {size} classes are shown, without a confusion matrix.",
    )


def _tables(comparison: Comparison, rule: str) -> list[Table]:
    return [run.confusion for run in comparison.finished(rule) if run.confusion]


def _why_missing(comparison: Comparison) -> str:
    if any(row.finished for row in comparison.rows):
        return "The task is not a classification, so there are no results by class."
    return "No run finished, so no classes were predicted."


def _summed(tables: Sequence[Table]) -> Counts:
    """Return the sum of matrices; `strict` because runs of one task have the same classes."""
    rows = zip(*tables, strict=True)
    return [[sum(entries) for entries in zip(*row, strict=True)] for row in rows]


def _accuracies(matrix: Counts) -> list[float | None]:
    return [row[i] / sum(row) if sum(row) else None for i, row in enumerate(matrix)]


def _hardest(accuracies: Sequence[Sequence[float | None]]) -> list[int]:
    """Return the classes to show, in their own order."""
    means = []
    for i, column in enumerate(zip(*accuracies, strict=True)):
        known = [value for value in column if value is not None]
        means.append((sum(known) / len(known) if known else 1.0, i))
    return sorted(i for _, i in sorted(means)[:SHOWN])


def _accuracy(value: float | None, worst: float) -> Tinted:
    if value is None:
        return Tinted(ABSENT, 0)
    return Tinted(f"{value * 100:.1f}", (1 - value) / worst if worst else 0)


def _confusions(
    matrices: dict[str, Counts], names: Sequence[str]
) -> tuple[tuple[str, tuple[tuple[Tinted, ...], ...]], ...]:
    rates = [
        n / sum(row)
        for matrix in matrices.values()
        for i, row in enumerate(matrix)
        for j, n in enumerate(row)
        if i != j and any(row)
    ]
    worst = max(rates, default=0)
    return tuple(
        (label(rule), tuple(_confused(row, i, names, worst) for i, row in enumerate(matrix)))
        for rule, matrix in matrices.items()
    )


def _confused(row: list[int], i: int, names: Sequence[str], worst: float) -> tuple[Tinted, ...]:
    total = sum(row) or 1
    return tuple(
        Tinted(str(n), 0, f"{names[i]}, correct", diagonal=True)
        if i == j
        else Tinted(
            str(n) if n else "",
            n / total / worst if worst else 0,
            f"{names[i]}, classified as {names[j]}",
        )
        for j, n in enumerate(row)
    )
