"""Why sections have no result: each reason once, with its runs."""

from __future__ import annotations

from dataclasses import dataclass

from beyondprop.report.audited.records import Audit
from beyondprop.report.text import label, plural


@dataclass(frozen=True)
class Failure:
    """A reason with its runs.

    Attributes:
        reason: The reason in the section's words.
        where: The number of runs that it applies to, in words.
        names: The names of these runs, or pairs of runs.
    """

    reason: str
    where: str
    names: tuple[str, ...]


def failures(audit: Audit, section: str) -> list[Failure]:
    """Return why a section has no result for some runs, or pairs of runs."""
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
