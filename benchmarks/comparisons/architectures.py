"""One table over many kinds of networks: backprop, DFA, the best other rule and the controls."""

from collections.abc import Mapping

from benchmarks.common.tables import Cells
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
    "seeds",
)


def table(records: Mapping[str, Record], alone: Mapping[str, Record]) -> Cells:
    """Return one row a network.

    Args:
        records: Comparisons by what their rows are called.
        alone: Of some of them the comparison of a simpler model, a factorisation machine say, whose
            backprop is the linear control.
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
        simpler(found, alone),
        str(len(found.facts.seeds)),
    ]


def best_other(found: Shown) -> RuleRow | None:
    """Return the rule besides DFA and the controls with the best mean score."""
    others = [
        each
        for each in found.facts.rows
        if each.rule not in (DFA, *CONTROLS) and each.score_mean is not None
    ]
    return max(others, key=lambda each: each.score_mean or 0.0, default=None)


def simpler(found: Shown, alone: Record | None) -> str:
    """Return the score of the linear model, or of what takes its place."""
    if alone is None:
        return marked(found, found.facts.row(LINEAR))
    other = shown(alone)
    return f"FM alone {marked(other, other.upper)}"


def below_frozen(records: Mapping[str, Record]) -> str:
    """Return which rules end below frozen, network by network: the first line of a page."""
    told = []
    for name, record in records.items():
        found = shown(record)
        frozen = found.facts.row(FROZEN)
        if frozen is None or frozen.score_mean is None:
            continue
        lower = [each.rule for each in found.facts.rows if is_below(each, frozen)]
        if lower:
            told.append(f"on {name} {listing([f'`{rule}`' for rule in lower])}")
    if not told:
        return "No rule ends below frozen hidden layers on any of these networks."
    return f"Below frozen hidden layers end, by their means: {'; '.join(told)}."


def is_below(each: RuleRow, frozen: RuleRow) -> bool:
    """Whether a rule's mean score is less than that of frozen."""
    known = each.score_mean is not None and frozen.score_mean is not None
    return known and each.rule not in CONTROLS and (each.score_mean or 0) < (frozen.score_mean or 0)
