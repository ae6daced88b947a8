"""The values for the template of an audit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from beyondprop.report.audited import facts, headline, notes, verdicts
from beyondprop.report.audited.failures import failures
from beyondprop.report.audited.records import Asked, Audit
from beyondprop.report.audited.table import table_of
from beyondprop.report.figures import Exhibit
from beyondprop.report.figures.audits import (
    calibration,
    explanations,
    fairness,
    forgetting,
    minima,
    robustness,
)
from beyondprop.report.rulebook import abouts, keys
from beyondprop.report.style import Style
from beyondprop.report.text import ScoreFormat

Draw = Callable[[Audit, Mapping[str, Style], str], list[Exhibit]]

PICTURES: dict[str, Draw] = {
    "forgetting": forgetting.pictures,
    "robustness": robustness.pictures,
    "explanations": explanations.pictures,
    "fairness": fairness.pictures,
    "minima": minima.pictures,
    "calibration": calibration.pictures,
}
"""Functions that draw the results; other sections have only a table."""


def audited_part(audit: Audit, drawn: Mapping[str, Style], prefix: str) -> dict[str, Any]:
    """Return the template's values for one audit.

    Args:
        audit: The audit.
        drawn: The style of each rule of the page.
        prefix: The id of its part of the page.
    """
    return {
        "template": "audit.html.jinja",
        "prefix": prefix,
        "name": audit.task.name,
        "headline": headline.headline(audit),
        "summary": headline.summary(audit),
        "styles": drawn,
        "about": abouts(drawn),
        "owners": keys(drawn),
        "sections": [
            section_part(audit, section, drawn, f"{prefix}-{place}")
            for place, section in enumerate(audit.sections)
        ],
        "facts": facts.facts(audit),
        "metric": ScoreFormat.of(audit.task).metric,
        "runs": facts.run_lines(audit),
    }


def section_part(
    audit: Audit, section: Asked, drawn: Mapping[str, Style], prefix: str
) -> dict[str, Any]:
    """Return the template's values for one section."""
    known = any(section.name in run.figures for run in audit.runs)
    draw = PICTURES.get(section.name)
    return {
        "prefix": prefix,
        "name": section.name,
        "question": section.question,
        "verdict": verdicts.line(audit, section) if known else "",
        "notes": notes.notes(audit, section.name),
        "warnings": notes.warnings(audit, section.name),
        "table": table_of(audit, section),
        "exhibits": draw(audit, drawn, prefix) if draw else [],
        "failures": failures(audit, section.name),
        "sayings": facts.sayings(audit, section.name),
    }
