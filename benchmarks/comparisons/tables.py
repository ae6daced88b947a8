"""The tables of comparisons on pages, made from records."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from benchmarks.common.tables import Cells, number
from benchmarks.comparisons.reading import Record, Shown, longest, optimizers, shown
from beyondprop.experiment.table import EDGE
from beyondprop.measure.base import ABSENT
from beyondprop.report.records import BACKPROP, CONTROLS, FROZEN, LINEAR, RuleRow, Run, Trial
from beyondprop.report.text import ScoreFormat, minus, percent, plural, rate

MEASURED = {"alignment": "alignment", "step time": "step_ratio", "peak memory": "memory_ratio"}
"""Columns of a comparison with their figures; a column without a value is left out."""


def compare(record: Record) -> Cells:
    """Return a comparison: one row per rule."""
    found = shown(record)
    rows, metric = found.facts.rows, found.facts.task.metric
    measured = {
        head: key
        for head, key in MEASURED.items()
        if any(row.number(key) is not None for row in rows)
    }
    chosen = ["optimizer and rate"] if optimizers(found.facts) else []
    heads = ("rule", f"test {metric}", "recovery", *measured, *chosen, "runs finished")
    return heads, [
        [
            name(found, row),
            score(found, row),
            recovery(found, row),
            *(figure(row, key) for key in measured.values()),
            *(setting(found, row) for _ in chosen),
            outcome(row),
        ]
        for row in rows
    ]


def name(found: Shown, row: RuleRow) -> str:
    """Return a rule's name, with a mark if its search ended at an edge."""
    return row.rule + (EDGE if row.rule in found.edges else "")


def score(found: Shown, row: RuleRow | None) -> str:
    """Return a mean score with half of its interval over seeds."""
    form = ScoreFormat.of(found.facts.task)
    if row is None or row.score_mean is None:
        return ABSENT
    spread = "" if row.spread is None else f" ± {form.bare(row.spread)}"
    return form.full(row.score_mean) + spread


def recovery(found: Shown, row: RuleRow) -> str:
    """Return a recovery with its interval; for the controls that define it, only the number."""
    if row.recovery is None or row.rule in CONTROLS:
        own = row.rule in (BACKPROP, found.facts.below)
        return percent(row.recovery if own else None)
    low, high = row.recovery_interval or (None, None)
    between = "" if low is None else f" ({percent(low)} to {percent(high)})"
    return percent(row.recovery) + between


def figure(row: RuleRow, key: str) -> str:
    """Return a measured figure of a rule."""
    return minus(number(row.number(key), ".2f"))


def by_block(own: str, record: Record) -> Cells:
    """Return the alignment of a rule's update with the true gradient: one row per block.

    Figures are means over seeds, before and after training. Backprop's own norms show how the
    signal of the true gradient is distributed over blocks in normal training.
    """
    heads = (
        "block",
        "norm at first",
        "backprop's norm at the end",
        f"{own}'s norm at the end",
        "alignment at first",
        "at the end",
    )
    runs = shown(record).facts.runs
    plain, taught = (_blocks(runs, rule) for rule in (BACKPROP, own))
    return heads, [
        [
            block,
            number(found["gradient_norm"][0], ".2g"),
            number(plain.get(block, {}).get("gradient_norm", (None, None))[1], ".2g"),
            number(found["gradient_norm"][1], ".2g"),
            *(minus(number(each, ".2f")) for each in found["cosine"]),
        ]
        for block, found in taught.items()
    ]


Ends = tuple[float | None, float | None]
"""A figure before training and after it."""


def _blocks(runs: Iterable[Run], rule: str) -> dict[str, dict[str, Ends]]:
    """Return, for each block, the figures of its alignment by their keys."""
    curves = [
        [point for point in run.curve if "alignment" in point.measures]
        for run in runs
        if run.rule == rule and run.finished
    ]
    ends = [
        [curve[place].measures["alignment"].blocks for curve in curves if curve]
        for place in (0, -1)
    ]
    keys = ("gradient_norm", "cosine")
    blocks = ends[0][0]["gradient_norm"] if ends[0] else {}
    return {
        block: {key: (_mean_of(ends[0], key, block), _mean_of(ends[1], key, block)) for key in keys}
        for block in blocks
    }


def _mean_of(
    found: Sequence[Mapping[str, Mapping[str, Any]]], key: str, block: str
) -> float | None:
    """Return the mean of a block's figure over seeds, None if one of them has none."""
    values = [each[key][block] for each in found]
    return None if None in values else sum(values) / len(values)


def setting(found: Shown, row: RuleRow) -> str:
    """Return the optimizer and the learning rate that a rule's search chose."""
    own = found.facts.tuning.searches.get(row.rule)
    return ABSENT if own is None else f"{own.optimizer} {rate(chosen(found, row.rule))}"


def chosen(found: Shown, rule: str) -> float | None:
    """Return the learning rate of a rule's runs."""
    return found.facts.tuning.chosen.get(rule)


def outcome(row: RuleRow) -> str:
    """Return how many runs finished, of how many, and the outcome of the others."""
    others = {"diverged": row.diverged, "failed": row.failed}
    told = [f"{count} {kind}" for kind, count in others.items() if count]
    return ", ".join([f"{row.finished} of {row.runs}", *told])


def rule(own: str, records: Mapping[str, Record]) -> Cells:
    """Return the results of a rule on every task, between the controls.

    Args:
        own: The rule's name.
        records: A comparison's record, of any rules, by its task.
    """
    made = {task: shown(record) for task, record in records.items()}
    if own in CONTROLS:
        return _controls(made)
    rows = [
        [
            task,
            below(found),
            marked(found, row),
            marked(found, found.upper),
            recovery(found, row),
            figure(row, "alignment"),
            str(len(found.facts.seeds)),
        ]
        for task, found in made.items()
        if (row := found.facts.row(own))  # the others do not have this rule
    ]
    heads = ("task", "lower control", f"**{own}**", "backprop", "recovery", "alignment", "seeds")
    return heads, rows


def below(found: Shown) -> str:
    """Return the score and the name of the stronger lower control."""
    return f"{marked(found, found.lower)} ({found.facts.below})"


def marked(found: Shown, row: RuleRow | None) -> str:
    """Return a mean score with a mark if the search ended at an edge."""
    return score(found, row) + (EDGE if row and row.rule in found.edges else "")


def _controls(made: Mapping[str, Shown]) -> Cells:
    rows = []
    for task, found in made.items():
        if found.upper and found.lower:
            low, high = found.lower.score_mean, found.upper.score_mean
            three = [marked(found, found.facts.row(each)) for each in (LINEAR, FROZEN, BACKPROP)]
            rows.append([task, *three, percent(saved(low, high)), str(len(found.facts.seeds))])
    share = "share of the stronger lower control's errors that backprop corrects"
    return ("task", "linear", "frozen", "backprop", share, "seeds"), rows


def saved(lower: float | None, backprop: float | None) -> float | None:
    """Return the share of the first accuracy's errors that the second avoids, if there are any."""
    if lower is None or backprop is None or lower >= 1:
        return None
    return (backprop - lower) / (1 - lower)


def by_optimizer(record: Record) -> Cells | None:
    """Return the validation score of each rule with each optimizer in its longest trials.

    None if the search had no choice of optimizers.
    """
    facts = shown(record).facts
    form, names = ScoreFormat.of(facts.task), optimizers(facts)
    if not names:
        return None
    rows = []
    for row in facts.rows:
        best = {each: longest(facts, row.rule, each) for each in names}
        if any(best.values()):
            rows.append([row.rule, *(tried(form, trial) for trial in best.values())])
    return ("rule", *names), rows


def tried(form: ScoreFormat, trial: Trial | None) -> str:
    """Return the score, the length and the learning rate of a trial."""
    if trial is None:
        return ABSENT
    how = f"{plural(trial.epochs, 'epoch')}, rate {rate(trial.learning_rate)}"
    return f"{form.full(trial.score)} ({how})"


def side_by_side(records: Mapping[str, Record]) -> Cells:
    """Return the test scores and recoveries of several comparisons of one task.

    Args:
        records: The records by the heading of their columns.
    """
    made = {head: shown(record) for head, record in records.items()}
    names = dict.fromkeys(row.rule for found in made.values() for row in found.facts.rows)
    heads = chain.from_iterable((head, "recovery") for head in made)
    rows = []
    for each in names:
        cells = []
        for found in made.values():
            row = found.facts.row(each)
            cells += [score(found, row), recovery(found, row) if row else ABSENT]
        rows.append([each, *cells])
    return ("rule", *heads), rows
