"""The table of an audit's figures, and its notes."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from beyondprop.experiment.statistics import paired
from beyondprop.measure import Column
from beyondprop.measure.base import ABSENT


def audit_table(record: dict[str, Any]) -> Table:
    """Return the table of figures, with one row for each rule."""
    seeds = sorted({run["seed"] for run in record["runs"]})
    made = Table(
        title=f"audit of {record['task']['name']}, seeds {', '.join(map(str, seeds))}",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
    )
    heads, lines = cells(record)
    for place, head in enumerate(heads):
        made.add_column(head, justify="right" if place else "left")
    for line in lines:
        made.add_row(*line)
    return made


def cells(record: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the headings, and the cells of each rule."""
    columns = columns_of(record)
    rules = dict.fromkeys(run["rule"] for run in record["runs"])
    heads = ["rule", record["task"]["metric"], *(column.label for _, column in columns)]
    lines = []
    for rule in rules:
        runs = [run for run in record["runs"] if run["rule"] == rule]
        score = mean(Column("score", "", form=".3f"), [run["score"] for run in runs])
        lines.append([rule, score, *(figure(runs, *each) for each in columns)])
    return heads, lines


def columns_of(record: dict[str, Any]) -> list[tuple[str, Column]]:
    """Return the columns, each with its section."""
    return [
        (name, Column.read(column))
        for name, section in record["sections"].items()
        for column in section["columns"]
    ]


def figure(runs: list[dict[str, Any]], section: str, column: Column) -> str:
    """Return the text of a figure over the runs that have it."""
    found = [at(run["answers"].get(section, {}), column.key) for run in runs]
    return mean(column, [each for each in found if each is not None])


def at(answer: Any, key: str) -> float | None:
    """Return a figure of an answer by its key, with dots between nested keys.

    None if it is missing or not a number.
    """
    for part in key.split("."):
        if isinstance(answer, list) and part.isdigit() and int(part) < len(answer):
            answer = answer[int(part)]
        else:
            answer = answer.get(part) if isinstance(answer, dict) else None
    return float(answer) if isinstance(answer, int | float) else None


def mean(column: Column, values: list[float]) -> str:
    """Return the mean of values and half of its interval, or a dash if there are no values."""
    if not values:
        return ABSENT
    interval = paired(values) if len(values) > 1 else None
    half = "" if interval is None else f" ± {column.text(interval.high - interval.value)}"
    return f"{column.text(fmean(values))}{half}"


def notes(record: dict[str, Any]) -> Iterator[str]:
    """Yield the notes below the table."""
    if len({run["seed"] for run in record["runs"]}) > 1:
        yield "±: half of the 95% interval over seeds (Student's t)"
    for _, column in columns_of(record):
        if column.meaning:
            yield f"{column.label}: {column.meaning}"
    yield from failures(record)


def failures(record: dict[str, Any]) -> Iterator[str]:
    """Yield the reasons why sections have no answer, each once with the affected runs."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for run in record["runs"]:
        for section, answer in run["answers"].items():
            if "failed" in answer:
                name = f"{run['rule']}, seed {run['seed']}"
                reasons.setdefault((section, answer["failed"]), []).append(name)
    for (section, reason), names in reasons.items():
        of = "" if len(names) == len(record["runs"]) else f" ({'; '.join(names)})"
        yield f"{section}{of}: {reason}"
