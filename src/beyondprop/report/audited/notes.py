"""Notes on a section in addition to its verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from beyondprop.experiment.statistics import LEVEL, Interval, chance, holm, paired
from beyondprop.report.audited.fairness import Attribute, Fairness
from beyondprop.report.audited.forgetting import Forgetting
from beyondprop.report.audited.records import Audit, title
from beyondprop.report.audited.robustness import Robustness
from beyondprop.report.differences import resolution
from beyondprop.report.text import listing, plural

WORST = "selection_rate"


def notes(audit: Audit, section: str) -> list[str]:
    """Return sentences on questions that a section's verdict leaves open."""
    return NOTES[section](audit) if section in NOTES else []


def warnings(audit: Audit, section: str) -> list[str]:
    """Return warnings about misleading figures."""
    return masked(audit) if section == "robustness" else []


def above_the_floor(audit: Audit) -> list[str]:
    """Return which rules remember more at the end than the last experience; paired by seed, with
    Holm's correction over the rules.
    """
    found = audit.answers(Forgetting)
    if max(map(len, found.values()), default=0) < 2:
        return []
    above = _told_above(found, resolution(audit.task))
    named = [title(rule) for rule in found if rule in above]
    others = [title(rule) for rule in found if rule not in above]
    who = listing(named) if named else "no rule"
    verb = "score" if len(named) > 1 else "scores"
    rest = f"; {listing(others)} {'do' if len(others) > 1 else 'does'} not"
    return [
        f"At the end, {who} {verb} significantly above the floor, the score of a model that knows"
        f" only the last experience{rest * bool(named and others)}."
    ]


def _told_above(found: Mapping[str, Sequence[Forgetting]], step: float) -> set[str]:
    apart: dict[str, Interval] = {}
    chances: dict[tuple[str, str], float] = {}
    for rule, answers in found.items():
        kept, floors = [each.average for each in answers], [each.floor for each in answers]
        interval = paired(kept, floors, resolution=step)
        if interval is not None:
            apart[rule] = interval
            differ = [a - b for a, b in zip(kept, floors, strict=True)]
            chances[rule, ""] = chance(differ, resolution=step)
    after = holm(chances)
    return {rule for rule, each in apart.items() if each.low > 0 and after[rule, ""] < 1 - LEVEL}


def masked(audit: Audit) -> list[str]:
    """Return a warning if masked gradients hide how easily models are fooled."""
    found = audit.answers(Robustness)
    told = [
        f"{title(rule)} ({count} of {plural(len(own), 'run')})"
        for rule, own in found.items()
        if (count := sum(each.masked for each in own))
    ]
    if not told:
        return []
    return [
        f"Masked gradients: for {listing(told)}, the attack without gradients (Square) fools more"
        " samples that the gradient attack (PGD) does not fool than chance explains. The lines"
        " overstate the robustness of these rules. Rely on the points of AutoAttack and Square."
    ]


def who_fares_worst(audit: Audit) -> list[str]:
    """Return the group that each rule puts least often into the favourable class, and by how much
    the groups differ in the data.
    """
    found = audit.answers(Fairness)
    names = dict.fromkeys(n for own in found.values() for each in own for n in each.attributes)
    told = []
    for name in names:
        of = {
            rule: [each.attributes[name] for each in own if name in each.attributes]
            for rule, own in found.items()
        }
        favourable = next(each.favourable for own in found.values() for each in own)
        if worst := _worst(of):
            told.append(
                f"By {name}, least often classified as {favourable!r}: {worst}{_in_data(of)}."
            )
    return told


def _worst(of: Mapping[str, Sequence[Attribute]]) -> str:
    """Return the group with the worst rate, once if it is the same for all runs."""
    by_rule: dict[str, dict[str, int]] = {}
    for rule, own in of.items():
        counts: dict[str, int] = {}
        for each in own:
            if WORST in each.worst:
                counts[each.worst[WORST]] = counts.get(each.worst[WORST], 0) + 1
        if counts:
            by_rule[rule] = counts
    groups = {group for counts in by_rule.values() for group in counts}
    if len(groups) == 1:
        return f"{groups.pop()}, with every rule and seed"
    return "; ".join(
        f"{title(rule)} "
        + listing([f"{group} ({plural(n, 'run')})" for group, n in counts.items()])
        for rule, counts in by_rule.items()
    )


def _in_data(of: Mapping[str, Sequence[Attribute]]) -> str:
    known = [each.in_data for own in of.values() for each in own if each.in_data is not None]
    return f". In the test data, the groups differ by {fmean(known):.3f}" if known else ""


NOTES: Mapping[str, Callable[[Audit], list[str]]] = {
    "forgetting": above_the_floor,
    "fairness": who_fares_worst,
}
