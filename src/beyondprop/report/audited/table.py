"""The table of a section: rules and their figures."""

from __future__ import annotations

from dataclasses import dataclass, replace

from beyondprop.experiment.audit_table import mean
from beyondprop.measure import Column
from beyondprop.measure.base import ABSENT
from beyondprop.report.audited.fairness import APART, Fairness, key_of
from beyondprop.report.audited.records import Asked, Audit, figures_of
from beyondprop.report.text import ScoreFormat, capital, label, listing, minus


@dataclass(frozen=True)
class Figures:
    """A line for each rule, with a cell for each heading.

    Attributes:
        headings: The headings after that of the rule.
        lines: The rule's key and name with its cells.
        caption: The caption.
    """

    headings: tuple[str, ...]
    lines: tuple[tuple[str, str, tuple[str, ...]], ...]
    caption: str


def table_of(audit: Audit, section: Asked) -> Figures | None:
    """Return the means over seeds of a section's figures, with half of their intervals; None if
    there are none.
    """
    columns = [*section.columns, *further(audit, section)]
    rules = [
        rule for rule in audit.rules if any(section.name in run.figures for run in audit.of(rule))
    ]
    if not columns or not rules:
        return None
    lines = tuple((rule, label(rule), _cells(audit, section, rule, columns)) for rule in rules)
    scores = ScoreFormat.of(audit.task)
    headings = (f"Test {scores.metric}", *(capital(column.label) for column in columns))
    return Figures(headings, lines, _caption(audit, section, columns))


def further(audit: Audit, section: Asked) -> list[Column]:
    """Return columns whose names depend on the run: differences by attribute."""
    if section.name != "fairness":
        return []
    found = [each for of in audit.answers(Fairness).values() for each in of]
    names = dict.fromkeys(name for each in found for name in each.attributes)
    own = {column.key for column in section.columns}
    columns = [
        Column(key_of(name, apart), f"{title}, {name}", form=".3f")
        for name in names
        for apart, title in APART.items()
    ]
    return [column for column in columns if column.key not in own]


def _cells(audit: Audit, section: Asked, rule: str, columns: list[Column]) -> tuple[str, ...]:
    runs = [run for run in audit.of(rule) if section.name in run.figures]
    scores = ScoreFormat.of(audit.task)
    score = replace(Column("score", ""), form=f".{scores.decimals}f")
    factor = 100 if scores.percent else 1
    known = [run.score * factor for run in runs if run.score is not None]
    cells = [_percent(mean(score, known), scores.unit)]
    cells += [
        mean(column, list(figures_of(runs, section.name, column.key).values()))
        for column in columns
    ]
    return tuple(minus(cell) for cell in cells)


def _percent(text: str, unit: str) -> str:
    """Return a mean with its unit after it, before the half of its interval."""
    value, sign, half = text.partition(" ± ")
    return text if text == ABSENT else f"{value}{unit}{sign}{half}"


def _caption(audit: Audit, section: Asked, columns: list[Column]) -> str:
    told = [f"{capital(column.label)}: {column.meaning}" for column in columns if column.meaning]
    several = ["means over seeds, ± half of the 95% interval"] * (len(audit.seeds) > 1)
    uneven = _uneven(audit, section)
    parts = [*several, *told, *uneven, f"{ABSENT}: no value"]
    return capital("; ".join(parts)) + "."


def _uneven(audit: Audit, section: Asked) -> list[str]:
    """Return which rules have fewer seeds than others, in words."""
    counts = {
        rule: sum(section.name in run.figures for run in audit.of(rule)) for rule in audit.rules
    }
    most = max(counts.values())
    fewer = [f"{label(rule)} {n} of {most}" for rule, n in counts.items() if 0 < n < most]
    return [f"seeds with a result: {listing(fewer)}"] if fewer else []
