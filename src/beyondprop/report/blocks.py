"""The results of a measure by block: a table for any measure, and its findings in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from beyondprop.measure import Column, Description, Figures
from beyondprop.measure.base import ABSENT
from beyondprop.report.records import Comparison
from beyondprop.report.table import TableCell
from beyondprop.report.text import NOT_MEASURED, capital, figure, label, listing, plural


@dataclass(frozen=True)
class BlockTable:
    """A table with a line for each rule and a cell for each block."""

    title: str
    blocks: tuple[str, ...]
    lines: tuple[tuple[str, tuple[TableCell, ...]], ...]
    caption: str


def block_table(comparison: Comparison, measure: Description) -> BlockTable | None:
    """Return each block's figures at the end of training, as means over runs; None if there are
    none.

    A block without a figure shows the first words of the reason ("void"), if there is one.
    """
    found = {row.rule: _figures(comparison, row.rule, measure) for row in comparison.rows}
    found = {rule: each for rule, each in found.items() if any(one.blocks for one in each)}
    every = [one for each in found.values() for one in each]
    blocks = list(dict.fromkeys(name for one in every for name in _of(one)))
    if not blocks or not measure.block_columns:
        return None
    lines = tuple(
        (label(rule), tuple(_cell(measure.block_columns, each, name) for name in blocks))
        for rule, each in found.items()
    )
    return BlockTable(measure.title, tuple(blocks), lines, _caption(measure, found))


def words(comparison: Comparison, measure: Description) -> tuple[tuple[str, str], ...]:
    """Return the measure's findings and failures in words, each with the rules that it applies
    to."""
    told: dict[str, list[str]] = {}
    for row in comparison.rows:
        each = _figures(comparison, row.rule, measure)
        said = list(dict.fromkeys(one.words for one in each if one.words))
        failures = [one.failure for one in each if one.failure]
        if failures:
            why = failures[0].rstrip(".")
            said.append(f"{plural(len(failures), 'run')} could not be measured: {why}.")
        if said:
            told.setdefault(" ".join(said), []).append(label(row.rule))
    return tuple((listing(rules), text) for text, rules in told.items())


def _figures(comparison: Comparison, rule: str, measure: Description) -> list[Figures]:
    """Return the figures of the finished runs, or of all runs if none finished."""
    runs = comparison.finished(rule) or [run for run in comparison.runs if run.rule == rule]
    return [run.measures[measure.name] for run in runs if measure.name in run.measures]


def _of(figures: Figures) -> list[str]:
    return list(dict.fromkeys(name for each in figures.blocks.values() for name in each))


def _cell(columns: Sequence[Column], found: Sequence[Figures], block: str) -> TableCell:
    first, *others = columns
    values = [_mean(column, found, block) for column in columns]
    notes = [one.notes[block] for one in found if block in one.notes]
    short = [note.partition(":")[0] for note in notes]
    small = [
        f"{column.label} {figure(column, value) if value is not None else NOT_MEASURED}"
        for column, value in zip(others, values[1:], strict=True)
    ]
    if values[0] is None:
        text = listing(list(dict.fromkeys(short))) if short else ABSENT
    else:
        text = figure(first, values[0])
        small += [_counted(kind, short.count(kind), len(found)) for kind in dict.fromkeys(short)]
    return TableCell(text, tuple(small), "; ".join(dict.fromkeys(notes)))


def _counted(kind: str, count: int, runs: int) -> str:
    return kind if count == runs else f"{kind} in {count} of {runs}"


def _mean(column: Column, found: Sequence[Figures], block: str) -> float | None:
    values = [one.blocks.get(column.key, {}).get(block) for one in found]
    known = [float(value) for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def _caption(measure: Description, found: dict[str, list[Figures]]) -> str:
    told = [f"{capital(c.label)}: {c.meaning}." for c in measure.block_columns if c.meaning]
    if max(map(len, found.values())) > 1:
        told.append("Means over the runs.")
    return " ".join(told)
