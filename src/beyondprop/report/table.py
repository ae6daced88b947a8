"""The tables of rules and of runs, every cell ready to be printed."""

from __future__ import annotations

from dataclasses import dataclass

from beyondprop.report.records import Comparison, Row, Run
from beyondprop.report.text import (
    ABSENT,
    Scores,
    cosine,
    count,
    duration,
    label,
    percent,
    rate,
    ratio,
    size,
)


@dataclass(frozen=True)
class Line:
    """A line of the main table. `bar` is the recovery in percent, cut to 0 to 100."""

    rule: str
    name: str
    score: str
    deviation: str
    recovery: str
    bar: float | None
    alignment: str
    step: str
    step_time: str
    memory: str
    memory_size: str
    training: str
    runs: str
    troubled: bool


@dataclass(frozen=True)
class RunLine:
    """A line of the table of runs."""

    rule: str
    seed: int
    status: str
    reason: str
    rate: str
    score: str
    epochs: int
    time: str
    parameters: str


def lines(comparison: Comparison) -> list[Line]:
    """The main table: a line for each rule."""
    scores = Scores.of(comparison.task)
    return [_line(row, scores) for row in comparison.rows]


def _line(row: Row, scores: Scores) -> Line:
    return Line(
        rule=row.rule,
        name=label(row.rule),
        score=scores.full(row.score_mean),
        deviation="" if row.score_std is None else f"± {scores.bare(row.score_std)}",
        recovery=percent(row.recovery),
        bar=None if row.recovery is None else 100 * min(max(row.recovery, 0), 1),
        alignment=cosine(row.alignment),
        step=ratio(row.step_ratio),
        step_time="" if row.step_seconds is None else duration(row.step_seconds),
        memory=ratio(row.memory_ratio),
        memory_size="" if row.memory_bytes is None else size(row.memory_bytes),
        training=duration(row.train_seconds),
        runs=_outcome(row),
        troubled=row.finished < row.runs,
    )


def _outcome(row: Row) -> str:
    kinds = ((row.finished, "finished"), (row.diverged, "diverged"), (row.failed, "failed"))
    return ", ".join(f"{n} {kind}" for n, kind in kinds if n) or ABSENT


def run_lines(comparison: Comparison) -> list[RunLine]:
    """Every run, in the order of the rules and by seed."""
    scores = Scores.of(comparison.task)
    order = [row.rule for row in comparison.rows]
    runs = sorted(
        comparison.runs,
        key=lambda run: (order.index(run.rule) if run.rule in order else len(order), run.seed),
    )
    return [_run_line(run, scores) for run in runs]


def _run_line(run: Run, scores: Scores) -> RunLine:
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
        epochs=max((point.epoch for point in run.curve), default=0),
        time=duration(sum(times) if times else None),
        parameters=parameters,
    )
