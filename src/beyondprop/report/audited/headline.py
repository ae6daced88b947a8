"""What an audit found, in one sentence, and the sentences under it."""

from __future__ import annotations

from collections.abc import Sequence

from beyondprop.report.audited.records import Audit, title
from beyondprop.report.audited.verdicts import ONE_SEED, apart_from_backprop
from beyondprop.report.differences import FEW
from beyondprop.report.records import BACKPROP, FROZEN
from beyondprop.report.text import listing, plural


def headline(audit: Audit) -> str:
    """Return the finding in one sentence: where rules are told apart from backprop, with no claim
    whose interval holds its opposite.
    """
    name, rules, seeds = audit.task.name, audit.rules, len(audit.seeds)
    if BACKPROP not in rules:
        return f"{name}: {plural(len(rules), 'rule')} audited without backprop beside"
    if len(rules) == 1:
        return f"{name}: backprop audited alone"
    who = f"{name}: {plural(len(rules), 'rule')} audited"
    if seeds == 1:
        return f"{who}; {ONE_SEED}"
    found = list(apart_from_backprop(audit))
    asked = [(section, apart) for section, apart, could in found if could]
    if not asked:
        return f"{who}, and no section can set them beside backprop"
    grouped: dict[tuple[str, ...], list[str]] = {}
    for section, apart in asked:
        grouped.setdefault(tuple(apart), []).append(section.name)
    order = sorted(grouped, key=lambda apart: not apart)  # what tells no rule comes last
    told = [
        f"{listing(grouped[apart])} {'tell' if len(grouped[apart]) > 1 else 'tells'}"
        f" {_rules(apart, len(rules) - 1)}"
        for apart in order
    ]
    return f"{name}, beside backprop: {'; '.join(told)} ({plural(seeds, 'seed')})"


def _rules(apart: Sequence[str], others: int) -> str:
    """Return which rules are told apart."""
    if not apart:
        return "no rule apart"
    if len(apart) == others > 2:
        return f"all {others} other rules apart"
    return f"{listing([title(rule) for rule in apart])} apart"


def summary(audit: Audit) -> list[str]:
    """Return the sentences under the headline: what was done, and how to read a verdict."""
    seeds = listing([str(seed) for seed in audit.seeds])
    told = [
        f"{plural(len(audit.sections), 'section')} asked {plural(len(audit.runs), 'run')}:"
        f" {listing([title(rule) for rule in audit.rules])};"
        f" seed{'s' * (len(audit.seeds) > 1)} {seeds}."
    ]
    if len(audit.seeds) > 1:
        told.append(
            "± is half of the 95% interval over seeds (Student's t). In a verdict the figures in"
            " brackets are differences, paired by seed; above, below and not told apart are"
            " after Holm over the section's rules and figures."
        )
    else:
        told.append("One seed gives no interval over seeds, so no difference is claimed.")
    if 1 < len(audit.seeds) < FEW:
        told.append(f"{plural(len(audit.seeds), 'seed')} decide only large differences.")
    missing = [each for each in (BACKPROP, FROZEN) if each not in audit.rules]
    if missing:
        told.append(f"A control is not among the runs: {listing(missing)}.")
    return told
