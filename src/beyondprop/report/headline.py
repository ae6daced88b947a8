"""The findings of a comparison in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from beyondprop.experiment.table import GAINED
from beyondprop.report.differences import ALIKE, of_pairs, told_apart, verdict
from beyondprop.report.records import (
    BACKPROP,
    CONTROLS,
    FROZEN,
    LINEAR,
    Comparison,
    RuleRow,
)
from beyondprop.report.text import (
    ScoreFormat,
    capital,
    count,
    label,
    listing,
    percent,
    ratio,
)

# More rules than this are reported as a range.
NAMED = 4
# A recovery below this is negative when it is rounded to a whole percentage.
WORSE = -0.005
LOWER = (FROZEN, LINEAR)
WORDS = {
    FROZEN: "the same network with frozen hidden layers",
    LINEAR: "a linear model on the inputs",
}
# A spread over seeds of more than this part of the gap between the controls causes a warning.
NOISY = 0.1


def headline(comparison: Comparison) -> str:
    """Return the finding in one sentence: the rules' recoveries, or their scores; no figure if the
    controls overlap.
    """
    if comparison.overlap:
        below = GAINED[comparison.below]
        if comparison.reversed:
            return f"On {comparison.task.name} backprop is worse than {below}"
        return f"On {comparison.task.name} the confidence intervals of backprop and {below} overlap"
    rows = [row for row in comparison.rows if row.rule not in CONTROLS]
    known = [row for row in rows if row.recovery is not None]
    if known:
        cost = rows[0].number("step_ratio")
        step = f", at {ratio(cost)} the step time"
        return _told(known, comparison) + step * (len(rows) == 1 and cost is not None)
    scores = ScoreFormat.of(comparison.task)
    reached = [
        f"{label(row.rule)} {scores.full(row.score_mean)}"
        for row in comparison.rows
        if row.score_mean is not None
    ]
    if not reached:
        outcome = "has a test score" if any(r.finished for r in comparison.rows) else "finished"
        return f"No run on {comparison.task.name} {outcome}"
    what = f"Test {scores.metric} on {comparison.task.name}"
    return f"{what}: {listing(reached)}" if len(reached) <= NAMED + 2 else what


def _told(rows: Sequence[RuleRow], comparison: Comparison) -> str:
    """Return the recoveries in words: first rules that do not differ significantly from backprop,
    last rules whose interval contains zero, which show no significant recovery.
    """
    below, beside = comparison.below, _beside_backprop(comparison)
    undecided = [label(row.rule) for row in rows if _undecided(row)]
    worse = [label(row.rule) for row in rows if not _undecided(row) and _worse(row)]
    known = [row for row in rows if not _undecided(row) and not _worse(row)]
    same = [row for row in known if beside.get(row.rule) == ALIKE]
    more = [label(row.rule) for row in known if row not in same and _is_all(row)]
    tested = [name for row in known if (name := label(row.rule)) in more and row.rule in beside]
    untested = [name for name in more if name not in tested]
    some = [row for row in known if row not in same and not _is_all(row)]
    show = "show" if len(undecided) > 1 else "shows"
    parts = [
        _alike(same),
        f"{listing(tested)} {_score(tested)} above backprop" * bool(tested),
        f"{listing(untested)} {_score(untested)} no lower than backprop" * bool(untested),
        _recovered(some, below),
        f"{listing(worse)} {_score(worse)} below {{}}" * bool(worse),
        f"{listing(undecided)} {show} no significant recovery over {{}}" * bool(undecided),
    ]
    # The first mention of the control gives its full name.
    names = iter([below] * 2 if some else [GAINED[below], below])
    return "; ".join(
        part.replace("{}", next(names)) if part.endswith("{}") else part for part in parts if part
    )


def _beside_backprop(comparison: Comparison) -> dict[str, str]:
    """Return the comparison of each rule with backprop, for rules paired with it by seed."""
    found = [pair for pair in of_pairs(comparison) if BACKPROP in (pair.first, pair.second)]
    return {pair.second if pair.first == BACKPROP else pair.first: verdict(pair) for pair in found}


def _score(rules: Sequence[str]) -> str:
    return "score" if len(rules) > 1 else "scores"


def _alike(rows: Sequence[RuleRow]) -> str:
    """Return the rules that do not differ significantly from backprop. A recovery above 100% is
    only in the table, because a reader would take it for a gain.
    """
    if not rows:
        return ""
    told = [
        label(row.rule) + f" (recovery {_share(row, ', ', '')})" * (not _is_all(row))
        for row in rows
    ]
    who = listing(told) if len(rows) <= NAMED else f"{len(rows)} rules"
    return f"{who} {'do' if len(rows) > 1 else 'does'} not differ significantly from {BACKPROP}"


def _is_all(row: RuleRow) -> bool:
    """Whether a recovery is displayed as more than 100%."""
    return row.recovery is not None and round(100 * row.recovery) > 100


def _undecided(row: RuleRow) -> bool:
    """Whether the interval of a recovery contains zero."""
    interval = row.recovery_interval
    return interval is not None and interval[0] <= 0 <= interval[1]


def _worse(row: RuleRow) -> bool:
    return row.recovery is not None and row.recovery < WORSE


def _recovered(known: Sequence[RuleRow], below: str) -> str:
    gain = f"of what backprop gains over {GAINED[below]}"
    if not known:
        return ""
    if len(known) > NAMED:
        ordered = sorted(known, key=lambda row: row.recovery or 0.0)
        low, high = ordered[0], ordered[-1]
        return (
            f"{len(known)} rules recover from {percent(low.recovery)} ({label(low.rule)})"
            f" to {percent(high.recovery)} ({label(high.rule)}) {gain}"
        )
    first, *rest = known
    told = [f"{label(first.rule)} recovers {_share(first)}"]
    return f"{listing(told + [f'{label(row.rule)} {_share(row)}' for row in rest])} {gain}"


def _share(row: RuleRow, opened: str = " (", closed: str = ")") -> str:
    """Return a recovery with its interval: `72% (61% to 83%)`."""
    interval = row.recovery_interval
    if interval is None:
        return percent(row.recovery)
    return f"{percent(row.recovery)}{opened}{' to '.join(map(percent, interval))}{closed}"


def summary(comparison: Comparison) -> list[str]:
    """Return the sentences under the headline: the controls, the cost, and warnings."""
    found = [_controls(comparison), *controlled(comparison)]
    found += [_cost(comparison), _noise(comparison), *told_apart(comparison)]
    return [sentence for sentence in found if sentence]


def _controls(comparison: Comparison) -> str:
    scores, task = ScoreFormat.of(comparison.task), comparison.task
    on = f"On {task.data or task.name}" + f" ({count(task.test)} test examples)" * bool(task.test)
    backprop = comparison.row(BACKPROP)
    high = backprop.score_mean if backprop else None
    lower = {name: row.score_mean for name in LOWER if (row := comparison.row(name))}
    known = {name: value for name, value in lower.items() if value is not None}
    if not comparison.controlled:
        return (
            f"{on}. These are single runs, not one comparison: their budgets may differ, so no"
            " recovery is reported."
        )
    if high is None or not known:
        absent = [BACKPROP] * (high is None) + [LOWER[0]] * (not known)
        return (
            f"{on}. No recovery is reported, because it needs a finished run of {listing(absent)}."
        )
    told = [f"{WORDS[name]} {scores.full(value)}" for name, value in known.items()]
    reached = f"backprop reaches {scores.full(high)} test {scores.metric}"
    sentence = f"{on}, {reached}, and {' and '.join(told)}."
    if comparison.no_recovery:
        sentence += f" No recovery is reported, because {comparison.no_recovery}."
    elif high <= max(known.values()):
        worse = max(known, key=known.__getitem__)
        sentence += f" Backprop gains nothing over {worse} here, so recovery has no meaning."
    return sentence


def controlled(comparison: Comparison) -> list[str]:
    """Return sentences on the lower controls and on chance."""
    runs, scores = comparison.runs, ScoreFormat.of(comparison.task)
    found = dict.fromkeys(
        f"{capital(label(run.rule))} is {run.head}." for run in runs if isinstance(run.head, str)
    )
    found |= dict.fromkeys(
        f"The last layer of {label(run.rule)} is not solved to convergence."
        for run in runs
        if run.finished and isinstance(run.head, Mapping) and not run.head.get("converged")
    )
    found |= dict.fromkeys(
        f"The penalty of the last layer of {label(run.rule)} is {run.head['edge']}."
        for run in runs
        if isinstance(run.head, Mapping) and not run.head.get("settled", True)
    )
    told = list(found)
    if comparison.no_linear:
        told.append(f"There is no linear model: {comparison.no_linear}.")
    if comparison.chance is not None:
        told.append(f"Chance is {scores.full(comparison.chance)}: {comparison.chance_of}.")
    elif comparison.chance_of:
        told.append(f"Chance is {comparison.chance_of}.")
    return told


def _cost(comparison: Comparison) -> str:
    rows = [(label(r.rule), r.number("step_ratio")) for r in comparison.rows if r.rule != BACKPROP]
    known = [(name, value) for name, value in rows if value is not None]
    if not known:
        return ""
    if len(known) > NAMED + 1:
        values = [value for _, value in known]
        return (
            f"A training step takes from {ratio(min(values))} to {ratio(max(values))} the time of"
            " plain PyTorch backprop."
        )
    (name, value), *rest = known
    told = [f"{ratio(value)} the time of plain PyTorch backprop with {name}"]
    return f"A training step takes {listing(told + [f'{ratio(v)} with {n}' for n, v in rest])}."


def _noise(comparison: Comparison) -> str:
    rows = [row for rule in (BACKPROP, comparison.below) if (row := comparison.row(rule))]
    means = [row.score_mean for row in rows if row.score_mean is not None]
    # A rule below frozen is reported as such, whatever its spread.
    told = [row for row in comparison.rows if row.recovery is not None and row.recovery >= WORSE]
    spreads = [row.score_std for row in told if row.score_std is not None]
    if len(means) < 2 or not spreads or means[0] <= means[1] or not comparison.controlled:
        return ""
    gap, widest = means[0] - means[1], max(spreads)
    if widest < NOISY * gap:
        return ""
    scores = ScoreFormat.of(comparison.task)
    points = " points" * scores.percent
    return (
        f"Read recovery with care: scores vary by up to ±{scores.bare(widest)}{points} between"
        f" seeds, and the two controls lie only {scores.bare(gap)}{points} apart."
    )
