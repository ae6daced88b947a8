"""Why sections have no answer: each reason once, with the runs that it holds for."""

from __future__ import annotations

from dataclasses import dataclass

from beyondprop.report.audited.records import Audit
from beyondprop.report.text import label, plural


@dataclass(frozen=True)
class Failure:
    """A reason, and where it holds.

    Attributes:
        reason: As the section gives it.
        where: How many runs it holds for, in words.
        names: Of these runs, or pairs of runs.
    """

    reason: str
    where: str
    names: tuple[str, ...]


def failures(audit: Audit, section: str) -> list[Failure]:
    """Return why a section has no answer of some runs, or of some pairs of runs."""
    alone: dict[str, list[str]] = {}
    for run in audit.runs:
        if section in run.failed:
            alone.setdefault(run.failed[section], []).append(f"{label(run.rule)}, seed {run.seed}")
    two: dict[str, list[str]] = {}
    for each in audit.beside:
        if each.section == section and each.failed and each.failed not in alone:
            two.setdefault(each.failed, []).append(each.name)
    whole = len(audit.runs)
    made = [
        Failure(
            reason, "every run" if len(names) == whole else plural(len(names), "run"), tuple(names)
        )
        for reason, names in alone.items()
    ]
    return made + [
        Failure(reason, plural(len(names), "pair") + " of runs", tuple(names))
        for reason, names in two.items()
    ]
