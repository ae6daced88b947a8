"""The findings of an audit, in a headline and a summary."""

from __future__ import annotations

from collections.abc import Sequence

from beyondprop.report.audited.records import Audit, title
from beyondprop.report.audited.verdicts import apart_from_backprop
from beyondprop.report.differences import ONE_SEED, few_seeds
from beyondprop.report.records import BACKPROP, FROZEN
from beyondprop.report.text import listing, plural


def headline(audit: Audit) -> str:
    """Return the finding in one sentence: where rules differ significantly from backprop, without
    claims whose interval contains the opposite.
    """
    name, rules, seeds = audit.task.name, audit.rules, len(audit.seeds)
    if BACKPROP not in rules:
        return f"{name}: {plural(len(rules), 'rule')} audited, without backprop"
    if len(rules) == 1:
        return f"{name}: only backprop audited"
    who = f"{name}: {plural(len(rules), 'rule')} audited"
    if seeds == 1:
        return f"{who}; {ONE_SEED}"
    found = list(apart_from_backprop(audit))
    asked = [(section, apart) for section, apart, could in found if could]
    if not asked:
        return f"{who}; no section compares them with backprop"
    grouped: dict[tuple[str, ...], list[str]] = {}
    for section, apart in asked:
        grouped.setdefault(tuple(apart), []).append(section.name)
    order = sorted(grouped, key=lambda apart: not apart)  # sections without a difference come last
    told = [f"{_rules(apart, len(rules) - 1)} in {listing(grouped[apart])}" for apart in order]
    return f"{name}, compared with backprop: {'; '.join(told)} ({plural(seeds, 'seed')})"


def _rules(apart: Sequence[str], others: int) -> str:
    """Return in words how many rules differ significantly."""
    if not apart:
        return "no rule differs significantly"
    if len(apart) == others > 2:
        return f"all {others} other rules differ significantly"
    verb = "differs" if len(apart) == 1 else "differ"
    return f"{listing([title(rule) for rule in apart])} {verb} significantly"


def summary(audit: Audit) -> list[str]:
    """Return the sentences under the headline: the runs, and how to read a verdict."""
    seeds = listing([str(seed) for seed in audit.seeds])
    told = [
        f"{plural(len(audit.sections), 'section')} of {plural(len(audit.runs), 'run')}:"
        f" {listing([title(rule) for rule in audit.rules])};"
        f" seed{'s' * (len(audit.seeds) > 1)} {seeds}."
    ]
    if len(audit.seeds) > 1:
        told.append(
            "± is half of the 95% interval over seeds (Student's t). In a verdict, the figures in"
            " brackets are differences paired by seed. Above, below and no significant difference"
            " are decided after Holm's correction over the section's rules and figures."
        )
    else:
        told.append("One seed gives no interval over seeds, so no difference is claimed.")
    if len(audit.seeds) > 1:
        told += few_seeds(len(audit.seeds))
    missing = [each for each in (BACKPROP, FROZEN) if each not in audit.rules]
    if missing:
        told.append(f"Missing controls: {listing(missing)}.")
    return told
