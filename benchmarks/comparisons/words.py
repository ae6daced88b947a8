"""The findings and the methods of comparisons, in sentences made from their records."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.common.wording import current
from benchmarks.comparisons.reading import Record, Shown, optimizers, shown
from beyondprop.experiment.summary import LOWER
from beyondprop.report.differences import few_seeds, of_pairs, unpaired
from beyondprop.report.failures import failures
from beyondprop.report.headline import controlled
from beyondprop.report.records import BACKPROP, CONTROLS, LINEAR
from beyondprop.report.text import ScoreFormat, count, listing, plural, rate

NAMED = 6
"""Most pairs without a significant difference that are named one by one."""

BEFORE = "by a version without the search and without a linear control"
RECOVERY = (
    "Recovery: with its 95% interval in brackets; – where the intervals of the controls overlap."
)
SPREAD = "±: half of the 95% interval over seeds (Student's t)."

UNTOLD = "untold"
KINDS = {
    "above": "{rules} {beat} `{control}`.",
    "below": "`{control}` beats {rules}.",
    "above, alone": "{rules} {beat} `{control}`, but only before Holm's correction.",
    "below, alone": "`{control}` beats {rules}, but only before Holm's correction.",
    UNTOLD: "{rules} {do} not differ significantly from `{control}`.",
}
"""How rules compare with a control. *Alone*: significant only before Holm's correction."""


@dataclass(frozen=True)
class Lead:
    """A rule's lead over a control.

    Attributes:
        rule: Its name.
        value: Its score minus the control's, mean over seeds.
        half: Half of the paired interval at 95%.
        real: Whether it is significant after Holm's correction.
    """

    rule: str
    value: float
    half: float
    real: bool

    @property
    def size(self) -> float:
        """The lead without its sign."""
        return abs(self.value)


def verdict(record: Record) -> str:
    """Return which rules differ from backprop and from the lower control, and by how much.

    Scores are compared by Student's t-test paired by seed, with Holm's correction over all pairs of
    the table.
    """
    found = shown(record)
    controls = [row.rule for row in (found.upper, found.lower) if row is not None]
    told = [_where(found), *(_against(found, each) for each in controls), *_order(found)]
    told += [*unpaired(found.facts), _recovery(found)]
    lost = failures(found.facts)
    told += [each.effect for each in lost.rules] if lost else []
    told += few_seeds(len(found.facts.seeds))
    return " ".join(filter(None, told))


def _where(found: Shown) -> str:
    task = found.facts.task
    size = f"{count(task.test)} test samples, " * bool(task.test)
    return f"On {task.data or task.name} ({size}{plural(len(found.facts.seeds), 'seed')}):"


def _against(found: Shown, control: str) -> str:
    """Return which rules beat a control, which it beats, and which do not differ significantly."""
    kinds: dict[str, list[Lead]] = {}
    for lead in leads_over(found, control):
        kinds.setdefault(_kind(lead), []).append(lead)
    form = ScoreFormat.of(found.facts.task)
    told = [_told(kind, kinds[kind], control, form) for kind in KINDS if kind in kinds]
    return " ".join(told)


def _told(kind: str, leads: Sequence[Lead], control: str, form: ScoreFormat) -> str:
    named = listing([_figure(lead, form, signed=kind == UNTOLD) for lead in leads])
    many = len(leads) > 1
    return KINDS[kind].format(
        rules=named,
        control=control,
        beat="beat" if many else "beats",
        do="do" if many else "does",
    )


def _figure(lead: Lead, form: ScoreFormat, signed: bool) -> str:
    points = " points" if form.percent else ""
    value = ("+" * (lead.value > 0) + form.bare(lead.value)) if signed else form.bare(lead.size)
    return f"`{lead.rule}` ({'by ' * (not signed)}{value} ± {form.bare(lead.half)}{points})"


def _kind(lead: Lead) -> str:
    if not lead.real and lead.size <= lead.half:
        return UNTOLD
    return f"{'above' if lead.value > 0 else 'below'}{'' if lead.real else ', alone'}"


def leads_over(found: Shown, control: str) -> list[Lead]:
    """Return each rule's lead over a control, the largest first."""
    leads = []
    for each in of_pairs(found.facts):
        pair = [each.first, each.second]
        if control in pair:
            pair.remove(control)
            if pair[0] not in LOWER:
                sign = 1 if pair[0] == each.first else -1
                half = (each.interval.high - each.interval.low) / 2
                leads.append(Lead(pair[0], sign * each.interval.value, half, each.real))
    return sorted(leads, key=lambda lead: -lead.value)


def _order(found: Shown) -> list[str]:
    """Return which pairs do not differ significantly."""
    pairs = of_pairs(found.facts)
    if not pairs:
        return []
    unsure = [f"`{each.first}` and `{each.second}`" for each in pairs if not each.real]
    how = "Student's t-test paired by seed, after Holm's correction for all pairs"
    if not unsure:
        every = "the only pair differs" if len(pairs) == 1 else f"all {len(pairs)} pairs differ"
        return [f"At 95%, {every} significantly ({how})."]
    which = f": {'; '.join(unsure)}" if len(unsure) <= NAMED else ""
    verb = "does" if len(unsure) == 1 else "do"
    return [
        f"At 95%, {len(unsure)} of {plural(len(pairs), 'pair')} {verb} not differ "
        f"significantly{which} ({how})."
    ]


def _recovery(found: Shown) -> str:
    if found.facts.no_recovery:
        return f"Recovery is not reported: {current(found.facts.no_recovery)}."
    both = all(found.facts.row(each) for each in LOWER)
    which = "the stronger lower control" if both else "the only lower control"
    return f"Recovery is relative to {found.facts.below}, {which}."


def made(record: Record) -> str:
    """Return how a comparison was made (search, seeds, controls), and the meaning of marks."""
    found = shown(record)
    told = [*_before(found), _search(found), *_uncounted(found), *_below(found), SPREAD]
    return " ".join([*told, *_edges(found), *_absurd(found)])


def _before(found: Shown) -> list[str]:
    return [f"**Made {BEFORE}.**"] if found.old else []


def _search(found: Shown) -> str:
    tuning, seeds = found.facts.tuning, ", ".join(map(str, found.facts.seeds))
    if tuning.searches:
        lengths = listing([str(length) for length in tuning.epochs])
        word = "epoch" if lengths == "1" else "epochs"
        among = optimizers(found.facts)
        what = f"its learning rate with {listing(among)}" if among else "its learning rate"
        return (
            f"Each rule searched {what} in trials of {lengths} {word}, with at most as much "
            f"compute as {tuning.budget:g} of backprop's longest trials. Seeds: {seeds}."
        )
    tried = sorted({t.learning_rate for t in tuning.trials if t.learning_rate is not None})
    if not tried:
        return f"No learning rate was searched. Seeds: {seeds}."
    epochs = plural(tuning.epochs[-1], "epoch")
    rates = listing([rate(each) for each in tried])
    return f"Each rule tried the learning rates {rates} for {epochs}. Seeds: {seeds}."


def _below(found: Shown) -> list[str]:
    """Return sentences on the lower controls and on chance."""
    if found.old:
        return ["Frozen is trained by steps like any rule; there is no linear model."]
    told = ["The last layer of frozen is solved to convergence."] if found.solved else []
    if found.facts.row(LINEAR):
        told.append("Linear is a linear model on the inputs, also solved to convergence.")
    return [*told, *map(current, controlled(found.facts))]


def _uncounted(found: Shown) -> list[str]:
    """Return which rules' steps count by a guess in the search, and which rules had no trial."""
    searches = found.facts.tuning.searches
    # Backprop counts as itself, whatever PyTorch can count.
    rules = [rule for rule, own in searches.items() if not own.counted and rule != BACKPROP]
    none = [rule for rule, own in searches.items() if not own.trials]
    told = [f"The budget allowed no trial of {listing(none)}, so the middle of the grid was used."]
    guessed = (
        f"The operations of a step by {listing(rules)} cannot be counted, so in the search it "
    )
    return told * bool(none) + [f"{guessed}counts as backprop's."] * bool(rules)


def _edges(found: Shown, rules: Iterable[str] | None = None) -> list[str]:
    """Return the meaning of the mark if one of the rules, by default any rule, has it."""
    if not found.edges or (rules is not None and not {*rules} & {*found.edges}):
        return []
    return ["†: the chosen learning rate lies at the edge of those tried; another may be better."]


def _absurd(found: Shown) -> list[str]:
    if not found.absurd:
        return []
    runs = [f"{rule} ({plural(len(seeds), 'run')})" for rule, seeds in sorted(found.absurd.items())]
    return [
        "Recorded as finished, but with a loss over a thousand times the untrained model's, "
        f"which now counts as diverged: {listing(runs)}."
    ]


def ages(records: Mapping[str, Record], own: str) -> str:
    """Return which comparisons with a rule are from an earlier version, and the meaning of marks.

    Args:
        records: Comparisons' records by task.
        own: The rule.
    """
    known = {task: shown(record) for task, record in records.items()}
    with_it = {task: found for task, found in known.items() if found.facts.row(own)}
    told = [SPREAD]
    if own not in CONTROLS:
        told.append(RECOVERY)
    told += _old({f"`{task}`": found for task, found in with_it.items()})
    marked = [
        each for each in with_it.values() if {own, BACKPROP, each.facts.below} & {*each.edges}
    ]
    told += _edges(marked[0]) if marked else []
    return " ".join(told)


def legend(records: Mapping[str, Record]) -> str:
    """Return the meaning of marks in a table of several comparisons, and which of them are older.

    Args:
        records: The records by the name of their row.
    """
    known = {name: shown(record) for name, record in records.items()}
    marked = [each for each in known.values() if each.edges]
    told = [SPREAD, RECOVERY, *_old(known), *(_edges(marked[0]) if marked else [])]
    return " ".join(told)


def _old(known: Mapping[str, Shown]) -> list[str]:
    """Return which comparisons are older, by name."""
    old = [name for name, found in known.items() if _before(found)]
    some = "all" if len(old) == len(known) else listing(old)
    return [f"Made {BEFORE}: {some}."] if old else []


APART = "The same comparison with each optimizer alone:"


def by_optimizer(record: Record) -> str:
    """Return the content of a table by optimizer in words, or that there was no choice."""
    names = optimizers(shown(record).facts)
    if not names:
        return "In this record, the search used only the task's own optimizer."
    return (
        f"Best validation score of each rule's longest trials with {listing(names)}, from which "
        "the search chose (one seed, used only for the search):"
    )
