"""Facts about an audit that a reader needs to judge it and to repeat it."""

from __future__ import annotations

from beyondprop.registry import label as spec_label
from beyondprop.report.audited.records import Audit, title
from beyondprop.report.facts import Fact, examples, origin_facts
from beyondprop.report.text import ScoreFormat, label, listing

DIGITS = 12
"""Digits of a digest that are shown."""


def facts(audit: Audit) -> list[Fact]:
    """Return the known facts about the task, the settings, the command, the versions and the
    machine."""
    asked = audit.spec.get("sections")
    sections = [spec_label(each) for each in asked] if isinstance(asked, list) else []
    told = [
        Fact("Task", audit.task.name),
        Fact("Data", audit.task.data),
        Fact("Examples", examples(audit.task)),
        Fact("Rules", listing([title(rule) for rule in audit.rules])),
        Fact("Seeds", listing([str(seed) for seed in audit.seeds])),
        Fact("Sections", listing(sections)),
        *origin_facts(audit.provenance),
    ]
    return [fact for fact in told if fact.text]


def run_lines(audit: Audit) -> list[tuple[str, str, str, str]]:
    """Return a line for each run: rule, seed, score and the start of its weights' digest."""
    scores = ScoreFormat.of(audit.task)
    return [
        (label(run.rule), str(run.seed), scores.full(run.score), run.digest[:DIGITS])
        for run in audit.runs
    ]


def sayings(audit: Audit, section: str) -> list[tuple[str, str]]:
    """Return a section's sentences on each run and each pair of runs."""
    told = [
        (f"{label(run.rule)}, seed {run.seed}", said)
        for run in audit.runs
        if (said := run.verdicts.get(section))
    ]
    return told + [
        (each.name, each.verdict)
        for each in audit.beside
        if each.section == section and each.verdict
    ]
