"""Reading and checking JSON records; other files of the report do not check them again.

NaN and infinities are read as null, because all of them mean that there is no figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from beyondprop.errors import UserError
from beyondprop.experiment.summary import not_above, score_interval
from beyondprop.files import (
    finite,
)
from beyondprop.measure import Description, Figures
from beyondprop.report.old_records import of_schema_1
from beyondprop.report.records import (
    Comparison,
    Point,
    RuleRow,
    Run,
    Search,
    TaskFacts,
    Trial,
    Tuning,
)

SCHEMAS = (1, 2)
"""Schemas that can be read; see `old_records` for the first."""

UNREADABLE = (KeyError, TypeError, ValueError, AttributeError)


def read_comparison(record: Mapping[str, Any], source: str = "the record") -> Comparison:
    """Return a comparison from its JSON record. Raises `UserError` if it is not one."""
    expect(record, "comparison", source)
    record = finite(record)
    try:
        record = up_to_date(record)
        found = Comparison(
            task=task_facts(record["task"]),
            rows=tuple(_row(row, record["runs"]) for row in record["rows"]),
            runs=_runs(record["runs"]),
            seeds=tuple(int(seed) for seed in record.get("seeds") or ()),
            spec=dict(record.get("spec") or {}),
            tuning=_tuning(record.get("tuning") or {}),
            provenance=dict(record.get("provenance") or {}),
            measures=_descriptions(record),
            chance=number((record.get("chance") or {}).get("score")),
            chance_of=str((record.get("chance") or {}).get("of") or ""),
            no_linear=record.get("no_linear"),
        )
        return _without_recovery(found) if found.overlap else found
    except UNREADABLE as error:
        raise unreadable(source, "comparison", error) from error


def _descriptions(record: Mapping[str, Any]) -> tuple[Description, ...]:
    """Return the measures of a comparison, without costs that were switched off."""
    found = tuple(map(Description.read, (record.get("measures") or {}).values()))
    if (record.get("spec") or {}).get("measure_cost") is not False:
        return found
    return tuple(each for each in found if not any(column.cost for column in each.columns))


def _without_recovery(found: Comparison) -> Comparison:
    """Return a comparison with overlapping controls, without recoveries of early records."""
    why = not_above(found.below, found.reversed)
    unclear = f"overlap, or {found.below} is better"  # the reason in records of earlier versions
    rows = [
        replace(
            row,
            recovery=None,
            recovery_interval=None,
            recovery_reason=(
                row.recovery_reason
                if row.recovery_reason and not row.recovery_reason.endswith(unclear)
                else why
            ),
        )
        for row in found.rows
    ]
    return replace(found, rows=tuple(rows))


def read_run(record: Mapping[str, Any], source: str = "the record") -> tuple[TaskFacts, Run]:
    """Return a run and its task from its JSON record. Raises `UserError` if it is not one."""
    expect(record, "run", source)
    record = finite(record)
    try:
        record = up_to_date(record)
        for measure in (record.get("measures") or {}).values():
            Description.read(measure)
        return task_facts(record["task"]), _run(record)
    except UNREADABLE as error:
        raise unreadable(source, "run", error) from error


def up_to_date(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record in the latest schema."""
    return of_schema_1(record) if record["schema"] == 1 else dict(record)


def expect(
    record: Mapping[str, Any],
    kind: str,
    source: str,
    schemas: tuple[int, ...] = SCHEMAS,
    title: str = "",
) -> None:
    """Raise an error unless a record has the expected kind and a readable schema.

    Args:
        record: The record.
        kind: The kind that it must have.
        source: The record's source, for messages.
        schemas: The readable schemas.
        title: The kind as people read it. Default: its name.

    Raises:
        UserError: The record has another kind or schema.
    """
    found = record.get("kind") if isinstance(record, Mapping) else None
    if found != kind:
        raise UserError(f"{source} is not the record of a {title or kind}: its kind is {found!r}")
    if record.get("schema") not in schemas:
        raise UserError(
            f"{source} has record schema {record.get('schema')!r} and this version reads"
            f" {' and '.join(map(str, schemas))};"
            " render it with the version of beyondprop that wrote it"
        )


def unreadable(source: str, kind: str, error: Exception) -> UserError:
    """Return the error for a damaged record."""
    return UserError(
        f"{source} is a damaged record of a {kind} ({type(error).__name__}: {error});"
        " delete it and run again with --resume"
    )


def task_facts(task: Mapping[str, Any]) -> TaskFacts:
    """Return the facts about a task from its record."""
    return TaskFacts(
        name=str(task["name"]),
        data=str(task.get("data") or ""),
        train=number(task.get("train")),
        validation=number(task.get("validation")),
        test=number(task.get("test")),
        metric=str(task.get("metric") or "score"),
        classes=tuple(str(name) for name in task.get("classes") or ()),
        augmented=bool(task.get("augmented")),
    )


def _runs(records: Sequence[Mapping[str, Any]]) -> tuple[Run, ...]:
    runs = tuple(_run(record) for record in records)
    if len({len(run.confusion) for run in runs if run.confusion}) > 1:
        raise ValueError("confusion matrices of different sizes")
    return runs


def _run(run: Mapping[str, Any]) -> Run:
    test = run.get("test") or {}
    return Run(
        rule=str(run["rule"]["name"]),
        seed=int(run["seed"]),
        status=str(run["status"]),
        reason=run.get("reason"),
        learning_rate=number(run.get("learning_rate")),
        curve=tuple(_point(point) for point in run.get("curve") or ()),
        score=number(test.get("score")),
        confusion=_confusion(test.get("confusion")),
        parameters=number(run.get("parameters")),
        trained_parameters=number(run.get("trained_parameters")),
        attached=str(run["rule"].get("report") or ""),
        spec=dict(run.get("spec") or {}),
        provenance=dict(run.get("provenance") or {}),
        measures=_measures(run.get("measures")),
        head=run.get("head"),
        called=str(run["rule"].get("called") or ""),
        does=str(run["rule"].get("does") or ""),
    )


def _confusion(rows: Any) -> tuple[tuple[int, ...], ...] | None:
    if not rows:
        return None
    matrix = tuple(tuple(int(n) for n in row) for row in rows)
    if any(len(row) != len(matrix) for row in matrix):
        raise ValueError("a confusion matrix that is not square")
    return matrix


def _point(point: Mapping[str, Any]) -> Point:
    return Point(
        epoch=int(point["epoch"]),
        step=int(point.get("step") or 0),
        score=number(point.get("validation_score")),
        seconds=number(point.get("seconds")),
        measures=_measures(point.get("measures")),
    )


def _measures(found: Mapping[str, Any] | None) -> dict[str, Figures]:
    figures = {str(name): Figures.read(each) for name, each in (found or {}).items()}
    for each in figures.values():
        for by_block in each.blocks.values():
            for name, value in by_block.items():
                if not isinstance(value, (int, float, type(None))):
                    raise TypeError(f"the value of block {name} is not a number")
    return figures


OWN = (
    *("rule", "runs", "finished", "diverged", "failed"),
    *("score_mean", "score_std", "score_interval"),
    *("recovery", "recovery_interval", "recovery_below", "recovery_reason"),
)
"""Keys of a row that are not figures of measures."""


def _row(row: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> RuleRow:
    return RuleRow(
        rule=str(row["rule"]),
        runs=int(row["runs"]),
        finished=int(row["finished"]),
        diverged=int(row["diverged"]),
        failed=int(row["failed"]),
        score_mean=number(row.get("score_mean")),
        score_std=number(row.get("score_std")),
        score_interval=_interval(score_interval(row, runs)),
        recovery=number(row.get("recovery")),
        recovery_interval=_interval(row.get("recovery_interval")),
        recovery_below=row.get("recovery_below"),
        recovery_reason=row.get("recovery_reason"),
        train_seconds=number(row.get("train_seconds")),
        figures={str(key): value for key, value in row.items() if key not in OWN},
    )


def _tuning(tuning: Mapping[str, Any]) -> Tuning:
    return Tuning(
        epochs=_epochs(tuning.get("epochs")),
        budget=number(tuning.get("budget")),
        trials=tuple(
            Trial(
                rule=str(trial["rule"]),
                learning_rate=number(trial["learning_rate"]),
                status=str(trial.get("status") or ""),
                score=number(trial.get("validation_score")),
                optimizer=str(trial.get("optimizer") or ""),
                epochs=int(trial.get("epochs") or 0),
            )
            for trial in tuning.get("trials") or ()
        ),
        chosen={str(k): number(v) for k, v in (tuning.get("chosen") or {}).items()},
        searches={str(k): Search(**v) for k, v in (tuning.get("searches") or {}).items()},
    )


def _epochs(value: Any) -> tuple[int, ...]:
    """Return the lengths of the trials: several, or a single one in early records."""
    if value is None:
        return ()
    return tuple(int(each) for each in (value if isinstance(value, list) else [value]))


def _interval(value: Any) -> tuple[float, float] | None:
    return None if value is None else (float(value[0]), float(value[1]))


def number(value: Any) -> float | None:
    """Return a number of a record; None if it is null."""
    return None if value is None else float(value)
