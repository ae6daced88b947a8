"""The tables of scores with missing modalities, and with one modality replaced by noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from beyondprop.report.modal.cells import averaged
from beyondprop.report.modal.methods import ordered
from beyondprop.report.modal.records import Alone, ModalComparison, OfSeed, Reached, title
from beyondprop.report.table import TableCell
from beyondprop.report.text import ScoreFormat, listing

JOINED = "+"
"""Separates the names of modalities in a record."""
LONE = "best sub-network alone"


@dataclass(frozen=True)
class PartsTable:
    """A table with a line per method and a column per set of modalities, the first with all."""

    headings: tuple[str, ...]
    lines: tuple[tuple[str, tuple[TableCell, ...]], ...]
    caption: str


def missing(found: ModalComparison) -> PartsTable | None:
    """Return the scores if only some modalities are given; None if none are known."""
    table = _table(found, lambda each: each.missing)
    if table is None:
        return None
    keys, lines = table
    sets = [found.modalities, *(_names(found, key) for key in keys)]
    lone = [[_best(seed, names) for seed in found.seeds] for names in sets]
    reference = tuple(averaged(of, ScoreFormat.of(found.task)) for of in lone)
    told = (
        f"Test {found.task.metric} where only some modalities are given, without retraining; a"
        " missing modality has weight 0. The last line is the sub-network of one given modality,"
        " trained alone: the best of them on validation data."
    )
    return PartsTable(
        ("All given", *(_heading(found, key) for key in keys)),
        (*lines, (LONE, reference)),
        told + _left_out(found, lines),
    )


def noise(found: ModalComparison) -> PartsTable | None:
    """Return the scores if one modality carries no information; None if none are known."""
    table = _table(found, lambda each: each.noise)
    if table is None:
        return None
    keys, lines = table
    told = (
        f"Test {found.task.metric} where one modality is replaced: numbers by noise with the same"
        " mean and spread, other data by the modality of another sample."
    )
    return PartsTable(
        ("No noise", *(f"Noise in {key}" for key in keys)), lines, told + _left_out(found, lines)
    )


Lines = tuple[tuple[str, tuple[TableCell, ...]], ...]


def _table(
    found: ModalComparison, scores_of: Callable[[Reached], Mapping[str, float | None]]
) -> tuple[list[str], Lines] | None:
    """Return the headings of columns, and the lines of the methods that have such scores."""
    scores = ScoreFormat.of(found.task)
    keys = list(
        dict.fromkeys(key for n in found.methods for each in found.of(n) for key in scores_of(each))
    )
    if not keys:
        return None
    lines = []
    for name in ordered(found):
        reached = found.of(name)
        if any(scores_of(each) for each in reached):
            columns = [[scores_of(each).get(key) for each in reached] for key in keys]
            every = [[each.score for each in reached], *columns]
            lines.append((title(name), tuple(averaged(of, scores) for of in every)))
    return keys, tuple(lines)


def _left_out(found: ModalComparison, lines: Lines) -> str:
    """Return a sentence on the methods without a line."""
    shown = {name for name, _ in lines}
    left = [title(name) for name in found.methods if title(name) not in shown]
    return f" Methods without these scores: {listing(left)}." if left else ""


def _heading(found: ModalComparison, key: str) -> str:
    """Return which modalities are given, or which one of several is not."""
    names = _names(found, key)
    absent = [name for name in found.modalities if name not in names]
    if len(absent) == 1 < len(names):
        return f"Without {absent[0]}"
    return f"Only {listing(names or [key])}"


def _names(found: ModalComparison, key: str) -> list[str]:
    """Return the modalities in a record's key; none if a modality's own name contains a +."""
    names = [key] if key in found.modalities else key.split(JOINED)
    return names if set(names) <= set(found.modalities) else []


def _best(seed: OfSeed, names: Sequence[str]) -> float | None:
    """Return the score of the best sub-network of some modalities, by validation, trained alone."""

    def validation(alone: Alone) -> float:
        return float("-inf") if alone.validation is None else alone.validation

    if len(names) == 1:
        own = seed.alone[names[0]]
        return own.score if own.own_samples is None else own.own_score
    if len(names) < len(seed.alone) and any(_lacks(each) for each in seed.alone.values()):
        return None
    best = max((seed.alone[name] for name in names), key=validation, default=None)
    return None if best is None else best.score


def _lacks(alone: Alone) -> bool:
    """Whether test samples lack a modality, so that its score covers other samples."""
    return alone.own_samples is not None and alone.own_score != alone.score
