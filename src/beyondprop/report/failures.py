"""The runs that did not finish: their number in one line, and the reason of each."""

from __future__ import annotations

from dataclasses import dataclass

from beyondprop.report.records import Comparison, RuleRow
from beyondprop.report.text import by_reason, label, listing, plural


@dataclass(frozen=True)
class Failure:
    """A rule with runs that did not finish.

    Attributes:
        rule: Its name.
        effect: The effect on its figures.
        reasons: The reasons of the runs, each with its seeds.
    """

    rule: str
    effect: str
    reasons: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Failures:
    """All runs that did not finish: a summary in one line, and the failures of each rule."""

    summary: str
    rules: tuple[Failure, ...]


def failures(comparison: Comparison) -> Failures | None:
    """Return the runs that did not finish; None if all did."""
    rows = [row for row in comparison.rows if row.diverged or row.failed]
    if not rows:
        return None
    told = listing([f"{_kinds(row)} with {label(row.rule)}" for row in rows])
    runs = plural(sum(row.runs for row in comparison.rows), "run")
    lost = sum(row.diverged + row.failed for row in rows)
    return Failures(
        f"Of {runs}, {lost} did not finish: {told}",
        tuple(
            Failure(
                label(row.rule),
                _effect(row, comparison.chance is not None),
                tuple(by_reason(_reasons(comparison, row.rule))),
            )
            for row in rows
        ),
    )


def _reasons(comparison: Comparison, rule: str) -> dict[int, str]:
    """Return, by seed, why runs did not finish."""
    runs = [run for run in comparison.runs if run.rule == rule and not run.finished]
    return {run.seed: f"{run.status}: {run.reason or 'no reason is recorded'}" for run in runs}


def _kinds(row: RuleRow) -> str:
    kinds = ((row.diverged, "diverged"), (row.failed, "failed"))
    return listing([f"{n} {kind}" for n, kind in kinds if n])


def _effect(row: RuleRow, has_chance: bool) -> str:
    of = f"Of {plural(row.runs, 'run')} of {label(row.rule)}, {_kinds(row)}"
    if has_chance and row.diverged:
        return f"{of}: diverged runs count as chance in its score."
    if not row.finished:
        return f"{label(row.rule)} has no score: of {plural(row.runs, 'run')}, {_kinds(row)}."
    rest = (
        f"its figures are means over the other {row.finished}"
        if row.finished > 1
        else "its figures come from the one that finished"
    )
    return f"{of}: {rest}."
