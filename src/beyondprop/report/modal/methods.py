"""The tables of methods and of all training runs, with every cell as text."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from beyondprop.experiment.modal_methods import OURS
from beyondprop.experiment.modaling import SINGLE
from beyondprop.experiment.summary import mean
from beyondprop.measure.base import ABSENT
from beyondprop.report.differences import ABOVE, ALIKE, BELOW, verdict
from beyondprop.report.modal.cells import averaged, rates, written
from beyondprop.report.modal.findings import Findings, findings
from beyondprop.report.modal.records import ModalComparison, OfSeed, Reached, title
from beyondprop.report.table import TableCell
from beyondprop.report.text import (
    ScoreFormat,
    by_reason,
    capital,
    count,
    duration,
    listing,
    percent,
)

NAMES = {
    "weighted_f1": "Weighted F1",
    "mean_absolute_error": "Mean absolute error (lower is better)",
}
"""Headings of further scores; others have their names with spaces."""
CELLS = {ABOVE: "above", BELOW: "below", ALIKE: "not significant"}
"""The text of table cells by verdict on a difference."""


@dataclass(frozen=True)
class MethodLine:
    """A line of the table of methods; `troubled` if a seed failed."""

    method: str
    cells: tuple[TableCell, ...]
    outcome: str
    troubled: bool


@dataclass(frozen=True)
class RunLine:
    """A line of the table of all training runs."""

    method: str
    seed: int
    cells: tuple[str, ...]
    outcome: str
    troubled: bool


def headings(found: ModalComparison) -> list[str]:
    """Return the headings between those of the method and of its seeds."""
    return [
        f"Test {found.task.metric}",
        *(NAMES.get(name, capital(name.replace("_", " "))) for name in further(found)),
        f"{capital(OURS)} minus this",
        "Computation",
        "Learning rate",
        *(("Computation to target",) * targeted(found)),
        "Time",
    ]


def targeted(found: ModalComparison) -> bool:
    """Whether the record contains the cost of reaching a given score."""
    return any(each.target is not None for each in found.seeds)


def further(found: ModalComparison) -> list[str]:
    """Return the names of further scores in addition to the task's own."""
    every = dict.fromkeys(n for each in found.methods for one in found.of(each) for n in one.named)
    return [name for name in every if name != found.task.metric]


def lines(found: ModalComparison) -> list[MethodLine]:
    """Return a line for each method, the best mean first."""
    known = findings(found)
    return [_line(found, known, name) for name in ordered(found)]


def ordered(found: ModalComparison) -> list[str]:
    """Return the names of methods, the best mean first and those without a score last."""

    def place(name: str) -> float:
        own = mean([each.score for each in found.of(name) if each.score is not None])
        return math.inf if own is None else -own

    return sorted(found.methods, key=place)


def _line(found: ModalComparison, known: Findings, name: str) -> MethodLine:
    reached = found.of(name)
    reasons = {each.seed: why for each in found.seeds if (why := each.methods[name].failed)}
    failed = [f"failed with {seeds}: {reason}" for reason, seeds in by_reason(reasons)]
    finished = sum(each.score is not None for each in reached)
    return MethodLine(
        method=title(name),
        cells=(
            averaged([each.score for each in reached], ScoreFormat.of(found.task)),
            *(averaged(of, scores) for of, scores in _further(found, name)),
            _difference(found, known, name),
            _computation(found, name),
            rates([each.rate for each in reached], [each.edge for each in reached]),
            *((_to_target(found, name),) * targeted(found)),
            TableCell(duration(_mean([each.seconds for each in reached]))),
        ),
        outcome="; ".join([f"{finished} of {len(reached)}", *failed]),
        troubled=finished < len(reached),
    )


def _further(found: ModalComparison, name: str) -> Iterator[tuple[list[float | None], ScoreFormat]]:
    """Yield a method's further scores, one per seed, with their format."""
    for score in further(found):
        values = [each.named.get(score) for each in found.of(name)]
        yield values, ScoreFormat.of(replace(found.task, metric=score))


def _difference(found: ModalComparison, known: Findings, name: str) -> TableCell:
    """Return the difference between pre-training and a method, and whether it is significant."""
    pair, scores = known.pairs.get(name), ScoreFormat.of(found.task)
    if pair is None:
        return TableCell(ABSENT)
    return TableCell(written(pair, scores), (CELLS[verdict(pair)],))


def _computation(found: ModalComparison, name: str) -> TableCell:
    """Return the computation of a method, relative to its budget."""
    shares = [share_of(seed, seed.methods[name].operations) for seed in found.seeds]
    return TableCell(percent(mean([each for each in shares if each is not None])))


def _to_target(found: ModalComparison, name: str) -> TableCell:
    """Return the computation of a method until the target, and how many seeds reach it."""
    shares = [share_of(seed, seed.methods[name].to_target) for seed in found.seeds]
    known = [each for each in shares if each is not None]
    if not known:
        return TableCell(ABSENT)
    small = [duration(_mean([each.seconds_to_target for each in found.of(name)]))]
    if len(known) < len(shares):
        small.append(f"{len(known)} of {len(shares)} seeds")
    return TableCell(percent(mean(known)), tuple(small))


def _mean(values: Sequence[float | None]) -> float | None:
    return mean([each for each in values if each is not None])


def share_of(seed: OfSeed, operations: float | None) -> float | None:
    """Return operations as a share of a seed's budget."""
    if operations is None or not seed.budget.total:
        return None
    return operations / seed.budget.total


def caption(found: ModalComparison) -> str:
    """Return the caption of the table of methods."""
    several, scores = len(found.seeds) > 1, ScoreFormat.of(found.task)
    told = ["The method with the best mean is first."]
    if several:
        told.append("± is half of a 95% interval over seeds (Student's t).")
        points = " in points," * scores.percent
        told.append(
            f"Differences,{points} are paired by seed; above and below mark those that are"
            " significant at 95%, also after Holm's correction over all of them."
        )
    told.append(
        "Computation is the whole training of a method, including earlier stages, relative to"
        " pre-training followed by joint training. It excludes the learning-rate search, whose cost"
        " is in the last table."
    )
    if targeted(found):
        told.append(_target(found))
    told.append(
        "Time is the training time on the machine below, one run after another, including"
        " pre-training where a method needs it."
    )
    if any(each.edge for seed in found.seeds for each in seed.methods.values()):
        told.append("†: the chosen learning rate lies at the edge of those tried.")
    return " ".join([*told, *_single(found)])


def _target(found: ModalComparison) -> str:
    """Return the definition of the target."""
    scores = ScoreFormat.of(found.task)
    known = sorted({each.target for each in found.seeds if each.target is not None})
    ends = dict.fromkeys(scores.full(each) for each in (known[0], known[-1]))
    own = found.spec.get("target") is None
    what = f"which the {SINGLE} reaches with the same seed" if own else "as set by target"
    return (
        f"The target is a validation score of {' to '.join(ends)}, {what}. Computation to target"
        " includes earlier stages and ends with the first epoch that reaches the target; its time"
        f" is below it. {ABSENT} means that no epoch does."
    )


def _single(found: ModalComparison) -> Iterator[str]:
    """Yield which single modality was the best."""
    chosen = Counter(each.modality for each in found.of(SINGLE) if each.modality)
    if len(chosen) == 1:
        yield f"The {SINGLE}, by validation, is {next(iter(chosen))}."
    elif chosen:
        by = listing([f"{name} ({times})" for name, times in chosen.most_common()])
        yield f"The {SINGLE}, by validation, is one of {by} by seed."


RUN_HEADINGS = ("Validation", "Learning rate", "Steps", "Computation", "With the search")


def run_lines(found: ModalComparison) -> list[RunLine]:
    """Return a line for each method and seed."""
    return [
        _run_line(found, seed, name, seed.methods[name])
        for name in found.methods
        for seed in found.seeds
    ]


def _run_line(found: ModalComparison, seed: OfSeed, name: str, reached: Reached) -> RunLine:
    scores = ScoreFormat.of(found.task)
    return RunLine(
        method=title(name),
        seed=seed.seed,
        cells=(
            scores.full(reached.score),
            scores.full(reached.validation),
            rates([reached.rate], [reached.edge]).text,
            count(reached.steps),
            percent(share_of(seed, reached.operations)),
            percent(share_of(seed, reached.searched)),
        ),
        outcome=f"failed: {reached.failed}" if reached.failed else reached.modality or "finished",
        troubled=bool(reached.failed),
    )
