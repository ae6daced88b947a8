"""One table over many kinds of networks: backprop, DFA, the best other rule and the controls."""

from collections.abc import Mapping

from benchmarks.common.tables import Cells
from benchmarks.comparisons import words
from benchmarks.comparisons.reading import Record, Shown, shown
from benchmarks.comparisons.tables import marked, recovery
from beyondprop.measure.base import ABSENT
from beyondprop.report.records import CONTROLS, FROZEN, LINEAR, RuleRow
from beyondprop.report.text import listing

DFA = "dfa"
HEADS = (
    "network",
    "score",
    "backprop",
    "DFA",
    "recovery",
    "best other rule",
    "recovery",
    "frozen",
    "linear",
    "FM alone",
    "seeds",
)


def table(records: Mapping[str, Record], alone: Mapping[str, Record]) -> Cells:
    """Return one row per network.

    Args:
        records: Comparisons by the name of their row.
        alone: For some of them, the comparison of a factorisation machine alone, by backprop.
    """
    return HEADS, [row(name, shown(record), alone.get(name)) for name, record in records.items()]


def row(name: str, found: Shown, alone: Record | None) -> list[str]:
    """Return the cells of one network."""
    dfa, other = found.facts.row(DFA), best_other(found)
    return [
        name,
        found.facts.task.metric,
        marked(found, found.upper),
        marked(found, dfa),
        recovery(found, dfa) if dfa else ABSENT,
        f"{other.rule} {marked(found, other)}" if other else ABSENT,
        recovery(found, other) if other else ABSENT,
        marked(found, found.facts.row(FROZEN)),
        marked(found, found.facts.row(LINEAR)),
        machine(alone),
        str(len(found.facts.seeds)),
    ]


def best_other(found: Shown) -> RuleRow | None:
    """Return the rule other than DFA and the controls with the best validation score."""
    others = [each for each in found.facts.rows if each.rule not in (DFA, *CONTROLS)]
    scored = [
        (score, place)
        for place, each in enumerate(others)
        if (score := validation_score(found, each.rule)) is not None
    ]
    return others[max(scored)[1]] if scored else None


def validation_score(found: Shown, rule: str) -> float | None:
    """Return a rule's mean score on the validation samples at the end of its runs.

    As in all scores of a comparison, a run that didn't finish counts as chance; if chance is
    unknown, a rule with such a run has no score.
    """
    runs = [run for run in found.facts.runs if run.rule == rule]
    scores = [
        run.curve[-1].score if run.finished and run.curve else found.facts.chance for run in runs
    ]
    known = [score for score in scores if score is not None]
    return sum(known) / len(known) if known and len(known) == len(runs) else None


def machine(alone: Record | None) -> str:
    """Return the score of a factorisation machine alone."""
    if alone is None:
        return ABSENT
    found = shown(alone)
    return marked(found, found.upper)


def below_frozen(records: Mapping[str, Record]) -> str:
    """Return which rules are below frozen, network by network: the first line of a page."""
    if not records:
        return "None of these networks has a record yet."
    told, untold = [], []
    for name, record in records.items():
        found = shown(record)
        leads = [lead for lead in words.leads_over(found, FROZEN) if lead.value < 0]
        for kind, some in ((told, True), (untold, False)):
            if rules := [f"`{lead.rule}`" for lead in leads if lead.real == some]:
                kind.append(f"on {name} {listing(rules)}")
    lines = [
        f"Significantly below frozen hidden layers: {'; '.join(told)}."
        if told
        else "No rule is significantly below frozen hidden layers on any of these networks."
    ]
    if untold:
        lines.append(f"Below in the mean, but not significantly: {'; '.join(untold)}.")
    return " ".join(lines)
