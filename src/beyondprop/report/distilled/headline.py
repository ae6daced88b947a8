"""The finding of a distillation in one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from beyondprop.neighbourhoods import TEACHER
from beyondprop.report.differences import BELOW, ONE_SEED, apart, verdict
from beyondprop.report.distilled.findings import Finding, findings, scores_at
from beyondprop.report.distilled.records import HEALED, SHARED, WHOLE, Distillation
from beyondprop.report.text import ScoreFormat, listing, plural, share

END = "end-to-end training at equal computation"
OTHERS = ("pruned", "scratch")
CHARGES = {SHARED: "library shared", WHOLE: "library whole"}
"""How the cost of a library for several budgets is charged to one of them."""


def headline(found: Distillation) -> str:
    """Return the finding in one sentence: healed networks compared with the teacher and end-to-end
    training, without claims whose interval contains the opposite.
    """
    name, known = found.task.name, [each for each in findings(found) if each.seeds]
    if not known:
        budgets = listing([share(each) for each in found.budgets])
        return f"No assembly of pieces of {name} is within {budgets} of its {found.limit}"
    subject = f"{name} assembled from pieces" + " and healed" * (found.result == HEALED)
    if max(each.seeds for each in known) == 1:
        return f"{subject}: {_scores(found)}; {ONE_SEED}"
    scores = ScoreFormat.of(found.task)
    beside = {
        "the teacher": _verdicts(known, TEACHER, scores),
        **_end_to_end(found, known, scores),
        **_better(found, known, scores),
    }
    seeds = sorted({each.seeds for each in known})
    of = plural(seeds[-1], "seed") if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} seeds"
    return f"{subject} {_clauses(beside, found.limit)} ({of})"


def _end_to_end(
    found: Distillation, known: Sequence[Finding], scores: ScoreFormat
) -> dict[str, dict[str, list[str]]]:
    """Return the verdicts on end-to-end training, once if both charges of a library agree."""
    charges = {charge: found.ways[way] for way, charge in CHARGES.items() if way in found.ways}
    each = {name: _verdicts(known, name, scores) for name in charges.values()}
    agreed = len({tuple(verdict(one.of(name)) for one in known) for name in each}) == 1
    if not agreed:
        return {f"{END} ({charge})": each[name] for charge, name in charges.items()}
    if len(each) == 1:
        return {END: next(iter(each.values()))}
    grouped: dict[str, list[str]] = {}  # without sizes, which differ between the charges
    for one in known:
        grouped.setdefault(verdict(one.of(next(iter(each)))), []).append(share(one.budget))
    return {END: grouped}


def _better(
    found: Distillation, known: Sequence[Finding], scores: ScoreFormat
) -> dict[str, dict[str, list[str]]]:
    """Return the budgets where other methods are better at equal computation."""
    others = [name for way, name in found.ways.items() if way in OTHERS]
    verdicts = {name: _verdicts(known, name, scores).get(BELOW) for name in others}
    return {name: {BELOW: places} for name, places in verdicts.items() if places}


def _verdicts(known: Sequence[Finding], other: str, scores: ScoreFormat) -> dict[str, list[str]]:
    """Return each verdict with its budgets, and the size of a significant difference."""
    grouped: dict[str, list[str]] = {}
    for each in known:
        pair = each.of(other)
        by = ""
        if pair is not None and apart(pair):
            half = (pair.interval.high - pair.interval.low) / 2
            unit = " points" * scores.percent
            by = f" (by {scores.bare(abs(pair.interval.value))} ± {scores.bare(half)}{unit})"
        grouped.setdefault(verdict(pair), []).append(share(each.budget) + by)
    return grouped


def _clauses(beside: Mapping[str, Mapping[str, Sequence[str]]], limit: str) -> str:
    """Return verdicts with their budgets; a verdict that is the same everywhere is written once.

    Args:
        beside: What is compared with, each with its verdicts and their budgets.
        limit: The quantity that budgets are shares of.
    """
    whole = [next(iter(verdicts.items())) for verdicts in beside.values() if len(verdicts) == 1]
    if len(whole) == len(beside) and len({tuple(places) for _, places in whole}) == 1:
        clauses = [f"{words} {other}" for (words, _), other in zip(whole, beside, strict=True)]
        return f"{' and '.join(clauses)}, within {listing(whole[0][1])} of the {limit}"
    first, *rest = [_clause(other, verdicts) for other, verdicts in beside.items()]
    return "; it ".join([f"{first} of the {limit}", *rest])


def _clause(other: str, verdicts: Mapping[str, Sequence[str]]) -> str:
    """Return the verdicts on one comparison, each with its budgets."""
    (words, places), *rest = verdicts.items()
    clauses = [f"{words} {other} within {listing(places)}"]
    return ", and ".join(clauses + [f"{each} it within {listing(where)}" for each, where in rest])


def _scores(found: Distillation) -> str:
    """Return the scores of one seed within each budget that has an assembly."""
    scores, reached = ScoreFormat.of(found.task), []
    for place, budget in enumerate(found.budgets):
        at = {name: of[0] for name, of in scores_at(found, place).items() if of}
        if at:
            ways = [found.ways[way] for way in CHARGES if way in found.ways]
            end = dict.fromkeys(scores.full(at[name]) for name in ways)
            reached.append(
                f"{scores.full(at[found.result])} within {share(budget)} of the {found.limit}"
                f" (teacher {scores.full(at[TEACHER])}, end to end {' or '.join(end)})"
            )
    return listing(reached)
