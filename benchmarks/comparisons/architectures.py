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
    """Return the rule besides DFA and the controls that scores best on the validation samples."""
    others = [each for each in found.facts.rows if each.rule not in (DFA, *CONTROLS)]
    scored = [
        (score, place)
        for place, each in enumerate(others)
        if (score := validation_score(found, each.rule)) is not None
    ]
    return others[max(scored)[1]] if scored else None


def validation_score(found: Shown, rule: str) -> float | None:
    """Return a rule's mean score on the validation samples at the end of its finished runs."""
    ends = [
        run.curve[-1].score
        for run in found.facts.runs
        if run.rule == rule and run.finished and run.curve
    ]
    known = [score for score in ends if score is not None]
    return sum(known) / len(known) if known else None


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
        leads = words.leads_over(shown(record), FROZEN)
        if lower := [f"`{lead.rule}`" for lead in leads if lead.real and lead.value < 0]:
            told.append(f"on {name} {listing(lower)}")
    if not told:
        return "No rule is told to end below frozen hidden layers on any of these networks."
    return f"Below frozen hidden layers end: {'; '.join(told)}."
