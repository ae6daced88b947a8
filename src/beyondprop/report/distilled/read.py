"""Reading and checking the record of a distillation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from beyondprop.errors import UserError
from beyondprop.files import finite
from beyondprop.registry import label
from beyondprop.report.distilled.records import (
    Assembly,
    Distillation,
    OfSeed,
    Piece,
    Student,
    Way,
)
from beyondprop.report.read import UNREADABLE, expect, number, task_facts, unreadable
from beyondprop.report.records import TaskFacts

KIND = "distillation"
SCHEMAS = (1,)


def read_distillation(record: Mapping[str, Any], source: str = "the record") -> Distillation:
    """Return a distillation from its JSON record.

    Raises:
        UserError: `record` is not such a record, or is damaged.
    """
    expect(record, KIND, source, SCHEMAS)
    try:
        return _distillation(finite(record))
    except (*UNREADABLE, UserError) as error:
        raise unreadable(source, KIND, error) from error


def _distillation(record: Mapping[str, Any]) -> Distillation:
    spec, seeds = dict(record["spec"]), tuple(_seed(each) for each in record["seeds"])
    if not seeds or len({tuple(a.budget for a in each.assemblies) for each in seeds}) > 1:
        raise ValueError("no seeds, or seeds with other budgets")
    if not seeds[0].assemblies:
        raise ValueError("no budgets")
    made = Distillation(
        task=_task(record["seeds"][0].get("task"), spec),
        spec=spec,
        seeds=seeds,
        candidates=tuple(label(each) for each in spec.get("candidates") or ()),
        provenance=dict(record.get("provenance") or {}),
    )
    chosen = {name for each in seeds for one in each.assemblies for name in one.choice}
    if unknown := chosen - {*made.neighbourhoods}:
        raise ValueError(f"a choice for {sorted(unknown)[0]!r}, which is not a neighbourhood")
    return made


def _task(facts: Mapping[str, Any] | None, spec: Mapping[str, Any]) -> TaskFacts:
    """Return the task; early records contain only its name."""
    return task_facts({"name": label(spec["task"])} if facts is None else facts)


def _seed(record: Mapping[str, Any]) -> OfSeed:
    teacher = record["teacher"]
    return OfSeed(
        seed=int(record["seed"]),
        score=number(teacher["score"]),
        operations=number(teacher["operations"]),
        pieces={str(name): _piece(each) for name, each in (record.get("pieces") or {}).items()},
        students={
            str(name): {str(candidate): _student(each) for candidate, each in of.items()}
            for name, of in record["students"].items()
        },
        assemblies=tuple(_assembly(each) for each in record["assemblies"]),
    )


def _piece(costs: Mapping[str, Any]) -> Piece:
    return Piece(number(costs["parameters"]), number(costs["operations"]))


def _student(record: Mapping[str, Any]) -> Student:
    return Student(
        cost=_piece(record["cost"]),
        error=number(record["error"]),
        alone=number(record.get("alone")),
        steps=number(record.get("steps")),
    )


def _assembly(record: Mapping[str, Any]) -> Assembly:
    budget = float(record["budget"])
    if "failed" in record:
        return Assembly(budget, str(record["failed"]), {}, None, {})
    return Assembly(
        budget=budget,
        failed="",
        choice={str(name): str(candidate) for name, candidate in record["choice"].items()},
        kept=number(record["kept"]),
        ways={str(name): _way(each) for name, each in record["ways"].items()},
    )


def _way(record: Mapping[str, Any]) -> Way:
    return Way(
        score=number(record.get("score")),
        validation=number(record.get("validation_score")),
        rate=number(record.get("rate")),
        steps=number(record.get("steps")),
        edge=bool(record.get("edge")),
        failed=str(record["failed"]) if "failed" in record else "",
    )
