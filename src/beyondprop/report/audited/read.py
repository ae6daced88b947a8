"""Reading and checking the record of an audit."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from beyondprop.experiment.audit_table import at
from beyondprop.files import finite
from beyondprop.measure import Column
from beyondprop.report.audited.calibration import read_calibration
from beyondprop.report.audited.explanations import read_agreement, read_explanations
from beyondprop.report.audited.fairness import Fairness, figures_of, read_fairness
from beyondprop.report.audited.forgetting import read_forgetting
from beyondprop.report.audited.minima import read_connection, read_minimum
from beyondprop.report.audited.records import Asked, Audit, OfRun, OfTwo
from beyondprop.report.audited.robustness import read_robustness
from beyondprop.report.audited.values import listed, mapped, real
from beyondprop.report.read import UNREADABLE, expect, number, task_facts, unreadable

KIND, TITLE = "audit", "finished audit"
SCHEMAS = (1,)

READERS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "forgetting": read_forgetting,
    "robustness": read_robustness,
    "explanations": read_explanations,
    "fairness": read_fairness,
    "minima": read_minimum,
    "calibration": read_calibration,
}
"""Functions that read a result for figures; other sections have a table and no figures."""
BESIDE: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "explanations": read_agreement,
    "minima": read_connection,
}
"""Functions that read the result of two runs."""


def read_audit(record: Mapping[str, Any], source: str = "the record") -> Audit:
    """Return an audit from its JSON record.

    Raises:
        UserError: `record` is not such a record, or is damaged.
    """
    expect(record, KIND, source, SCHEMAS, TITLE)
    try:
        return _audit(finite(record))
    except UNREADABLE as error:
        raise unreadable(source, TITLE, error) from error


def _audit(record: Mapping[str, Any]) -> Audit:
    asked = mapped(record["sections"])
    sections = tuple(_asked(str(name), mapped(each)) for name, each in asked.items())
    runs = tuple(_run(mapped(each), sections) for each in listed(record["runs"]))
    by_name = {run.name: run for run in runs}
    if not runs or not sections:
        raise ValueError("no runs or no sections")
    if len(by_name) < len(runs):
        raise ValueError("a run twice")
    return Audit(
        task=task_facts(record["task"]),
        sections=sections,
        runs=runs,
        beside=tuple(_two(mapped(each), by_name) for each in listed(record.get("beside") or ())),
        spec=dict(record.get("spec") or {}),
        provenance=dict(record.get("provenance") or {}),
    )


def _asked(name: str, found: Mapping[str, Any]) -> Asked:
    columns = tuple(Column.read(mapped(each)) for each in listed(found["columns"]))
    return Asked(name, str(found["question"]), columns)


def _run(found: Mapping[str, Any], sections: tuple[Asked, ...]) -> OfRun:
    answers = {str(name): mapped(each) for name, each in mapped(found["answers"]).items()}
    known = {name: each for name, each in answers.items() if "failed" not in each}
    shown = {name: READERS[name](each) for name, each in known.items() if name in READERS}
    return OfRun(
        rule=str(found["rule"]),
        seed=int(found["seed"]),
        digest=str(found["weights_sha256"]),
        score=number(found["score"]),
        figures={
            each.name: _figures(each, known[each.name]) | _more(shown.get(each.name))
            for each in sections
            if each.name in known
        },
        shown=shown,
        verdicts={name: str(each.get("verdict") or "") for name, each in known.items()},
        failed={name: str(each["failed"]) for name, each in answers.items() if "failed" in each},
    )


def _figures(section: Asked, answer: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the figures of a section's columns."""
    return {column.key: real(at(answer, column.key)) for column in section.columns}


def _more(shown: Any) -> dict[str, float | None]:
    """Return figures whose names depend on the run, in addition to a section's columns."""
    return figures_of(shown) if isinstance(shown, Fairness) else {}


def section_of(label: str) -> str:
    """Return the section in a label, which may also have arguments."""
    words = re.findall(r"[\w.:-]+", label)
    return next((word for word in words if word in READERS), label)


def _two(found: Mapping[str, Any], runs: Mapping[str, OfRun]) -> OfTwo:
    name = section_of(str(found["section"]))
    first, second = (runs[str(each)] for each in listed(found["runs"]))
    failed = str(found.get("failed") or "")
    reader = None if failed else BESIDE.get(name)
    return OfTwo(
        section=name,
        first=first,
        second=second,
        shown=None if reader is None else reader(found),
        verdict=str(found.get("verdict") or ""),
        failed=failed,
    )
