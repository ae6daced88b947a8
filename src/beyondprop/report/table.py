"""The tables of rules and of runs, with every cell as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from beyondprop.measure import Column
from beyondprop.measure.base import ABSENT
from beyondprop.report.records import BACKPROP, CONTROLS, Comparison, RuleRow, Run
from beyondprop.report.text import (
    ScoreFormat,
    capital,
    count,
    duration,
    figure,
    label,
    percent,
    rate,
    size,
)


@dataclass(frozen=True)
class TableCell:
    """A figure, the small text below it, and its tooltip."""

    text: str
    small: tuple[str, ...] = ()
    hint: str = ""


@dataclass(frozen=True)
class Line:
    """A line of the main table: `cells` has one for each column of the comparison's measures.

    `bar` is the recovery in percent, clipped to 0 to 100.
    """

    rule: str
    name: str
    score: str
    deviation: str
    recovery: str
    range: str
    bar: float | None
    cells: tuple[TableCell, ...]
    training: str
    runs: str
    troubled: bool


@dataclass(frozen=True)
class JointCell:
    """A rule on one task: its score, its recovery, and a tint from 0 to 1 for the recovery; no tint
    if its interval contains zero."""

    score: str
    recovery: tuple[str, ...] = ()
    tint: float = 0.0


@dataclass(frozen=True)
class JointLine:
    """A rule's line over several comparisons: a cell for each, and in how many it learned."""

    rule: str
    cells: tuple[JointCell, ...]
    above: str


@dataclass(frozen=True)
class RunLine:
    """A line of the table of runs."""

    rule: str
    seed: int
    status: str
    reason: str
    rate: str
    score: str
    epochs: str
    time: str
    parameters: str


def lines(comparison: Comparison) -> list[Line]:
    """Return the main table: a line for each rule."""
    scores = ScoreFormat.of(comparison.task)
    return [_line(row, scores, comparison.columns) for row in comparison.rows]


def headings(comparison: Comparison) -> list[str]:
    """Return the headings of the measured figures."""
    return [capital(column.label) for column in comparison.columns]


def _line(row: RuleRow, scores: ScoreFormat, columns: Sequence[Column]) -> Line:
    return Line(
        rule=row.rule,
        name=label(row.rule) + (" †" if row.figures.get("search_edge") else ""),
        score=scores.full(row.score_mean),
        deviation="" if row.spread is None else f"± {scores.bare(row.spread)}",
        recovery=percent(row.recovery),
        range=_range(row.recovery_interval if row.recovery is not None else None),
        bar=None if row.recovery is None else 100 * min(max(row.recovery, 0), 1),
        cells=tuple(_cell(column, row.figures) for column in columns),
        training=duration(row.train_seconds),
        runs=_outcome(row),
        troubled=row.finished < row.runs,
    )


def joint(comparisons: Sequence[Comparison]) -> list[JointLine]:
    """Return the table over several comparisons: for each rule, a cell for each comparison."""
    names = dict.fromkeys(row.rule for each in comparisons for row in each.rows)
    return [
        JointLine(
            name,
            tuple(_joint_cell(each, each.row(name)) for each in comparisons),
            _above(comparisons, name),
        )
        for name in names
    ]


def _joint_cell(comparison: Comparison, row: RuleRow | None) -> JointCell:
    if row is None:
        return JointCell(ABSENT)
    line = _line(row, ScoreFormat.of(comparison.task), ())
    score = f"{line.score} {line.deviation}".strip()
    if row.recovery is None or row.rule in (BACKPROP, comparison.below):
        return JointCell(score)
    told = (f"recovery {line.recovery}", line.range)
    decided = row.recovery_interval is None or row.recovery_interval[0] > 0
    tint = min(max(row.recovery, 0.0), 1.0) if decided else 0.0
    return JointCell(score, tuple(filter(None, told)), tint)


def _above(comparisons: Sequence[Comparison], rule: str) -> str:
    """Return in how many of a rule's comparisons the interval of recovery is above zero."""
    if rule in CONTROLS:
        return ""
    rows = [row for each in comparisons if (row := each.row(rule))]
    known = [row.recovery_interval for row in rows if row.recovery_interval is not None]
    return f"{sum(low > 0 for low, _ in known)} of {len(known)}" if known else ABSENT


def _range(interval: tuple[float, float] | None) -> str:
    """Return an interval of a recovery, as `61% to 83%`; empty if there is none."""
    return "" if interval is None else " to ".join(map(percent, interval))


def _cell(column: Column, figures: Mapping[str, Any]) -> TableCell:
    small = [figure(each, figures.get(each.key)) for each in column.beside]
    known = tuple(text for text in small if text != ABSENT)
    return TableCell(figure(column, figures.get(column.key)), known)


def caption(comparison: Comparison) -> str:
    """Return the caption of the main table: its intervals, and what its figures are relative to."""
    rows = comparison.rows
    told = ["± is half of the 95% interval over seeds (Student's t)."]
    if any(row.score_interval is None and row.score_std is not None for row in rows):
        told = ["± is one standard deviation over seeds, or half of the 95% interval."]
    if any(row.diverged for row in rows) and comparison.chance is not None:
        told.append("A diverged run counts as chance in the mean.")
    if any(row.recovery_interval for row in rows):
        told.append("The range under a recovery is its 95% interval, paired by seed (Fieller).")
    plain = [
        next((duration(n) for r in rows if (n := r.number("plain_step_seconds"))), ""),
        next((size(n) for r in rows if (n := r.number("plain_memory_bytes"))), ""),
    ]
    own = f" ({', '.join(filter(None, plain))})" if any(plain) else ""
    if any(column.cost for column in comparison.columns):
        told.append(f"Step time and peak memory are relative to plain PyTorch backprop{own}.")
    if any(row.figures.get("step_quartiles") for row in rows):
        told.append("The range under a step time spans the middle half of its measurements.")
    # Rows from several records may differ.
    kinds = {kind for row in rows if (kind := str(row.figures.get("memory_kind"))) in KINDS}
    told += [KINDS[kind] for kind in KINDS if kinds == {kind}]
    return " ".join([*told, f"{ABSENT} means not measured or not defined."])


KINDS = {
    "resident": "Memory is the memory of the whole process, as the operating system reports it.",
    "tensors": "Memory is the memory of tensors, as PyTorch's allocator reports it.",
}


def _outcome(row: RuleRow) -> str:
    kinds = ((row.finished, "finished"), (row.diverged, "diverged"), (row.failed, "failed"))
    if row.finished == row.runs and row.runs:
        return f"{row.runs} of {row.runs}"
    return ", ".join(f"{n} {kind}" for n, kind in kinds if n) or ABSENT


def run_lines(comparison: Comparison) -> list[RunLine]:
    """Return the table of runs, in the order of the rules and by seed."""
    scores = ScoreFormat.of(comparison.task)
    order = [row.rule for row in comparison.rows]
    runs = sorted(
        comparison.runs,
        key=lambda run: (order.index(run.rule) if run.rule in order else len(order), run.seed),
    )
    return [_run_line(run, scores) for run in runs]


def _run_line(run: Run, scores: ScoreFormat) -> RunLine:
    times = [point.seconds for point in run.curve if point.seconds is not None]
    parameters = count(run.trained_parameters)
    if run.parameters != run.trained_parameters:
        parameters += f" of {count(run.parameters)}"
    return RunLine(
        rule=label(run.rule),
        seed=run.seed,
        status=run.status,
        reason=run.reason or "",
        rate=rate(run.learning_rate),
        score=scores.full(run.score),
        epochs="solved" if run.solved else str(max((p.epoch for p in run.curve), default=0)),
        time=duration(sum(times) if times else None),
        parameters=parameters,
    )
