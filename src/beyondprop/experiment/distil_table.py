"""The table of a distillation, and its notes."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from beyondprop.files import GIB
from beyondprop.measure.base import ABSENT
from beyondprop.neighbourhoods import Plan
from beyondprop.neighbourhoods.synthetic import KNOWN
from beyondprop.registry import label

WAYS = (
    "merged",
    "healed",
    "end to end, shared",
    "end to end, whole",
    "pruned",
    "scratch",
)
"""In the order of columns."""
HEADS = ("operations kept", "teacher", *WAYS)


def distil_table(record: Mapping[str, Any]) -> Table:
    """Return the mean score of each method over seeds, with one row for each budget."""
    shown = Table(
        title="score, mean over seeds",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
    )
    for column in HEADS:
        shown.add_column(column, justify="right", no_wrap=True)
    for row in rows(record):
        shown.add_row(*row)
    return shown


def plan_table(plan: Plan) -> Table:
    """Return the expected cost of each student, with one row for each student."""
    shown = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for column in ("neighbourhood", "candidate"):
        shown.add_column(column, no_wrap=True)
    for column in ("parameters", "operations", "training"):
        shown.add_column(column, justify="right", no_wrap=True)
    for each in plan.students:
        if each.cost is None:
            shown.add_row(each.neighbourhood, each.candidate, ABSENT, ABSENT, ABSENT)
            continue
        whole = plan.teacher[each.neighbourhood]
        shares = (
            f"{own / of:.0%}" if of else ABSENT
            for own, of in (
                (each.cost.parameters, whole.parameters),
                (each.cost.operations, whole.operations),
            )
        )
        shown.add_row(each.neighbourhood, each.candidate, *shares, f"{each.seconds:.0f} s")
    return shown


def plan_notes(plan: Plan, workers: int) -> Iterator[str]:
    """Yield the notes on a plan: reasons, disk space and time.

    Args:
        plan: Plan of one seed.
        workers: Number of workers.
    """
    for each in plan.students:
        if each.reason:
            yield f"{each.neighbourhood}, {each.candidate}: {each.reason}."
    if plan.drawn is not None:
        yield (
            f"Each pass draws {plan.drawn:,} samples, and none of them are stored. Shapes and "
            f"moments come from {plan.samples:,} of {plan.whole:,} training samples."
        )
    else:
        yield students_see(plan)
    yield (
        f"All students of a seed take about {plan.seconds / workers:.0f} s on {workers} "
        f"worker{'s' * (workers > 1)}, estimated from a few steps; the teacher and whole models "
        "are not included."
    )


def students_see(plan: Plan) -> str:
    """Return the note on the students' training samples and on their disk space."""
    some = "all" if plan.samples == plan.whole else f"the first {plan.samples:,}"
    room = f"{plan.bytes / GIB:.2f} GiB"
    return f"Students use {some} of {plan.whole:,} samples; activations take {room}."


def rows(record: Mapping[str, Any]) -> Iterator[list[str]]:
    """Yield the cells of each budget: operations kept, the teacher's score, the methods' scores."""
    teacher = mean([seed["teacher"]["score"] for seed in record["seeds"]])
    for place in range(len(record["spec"]["budgets"])):
        found = [seed["assemblies"][place] for seed in record["seeds"]]
        known = [each for each in found if "ways" in each]
        kept = f"{mean([each['kept'] for each in known]):.0%}" if known else ABSENT
        yield [kept, f"{teacher:.4f}", *(cell(known, way) for way in WAYS)]


def cell(found: list[Mapping[str, Any]], way: str) -> str:
    """Return a method's mean score, marked if a chosen rate is at the edge of those tried."""
    scores = [each["ways"].get(way, {}).get("score") for each in found]
    if not scores or None in scores:
        return ABSENT
    edge = any(each["ways"][way].get("edge") for each in found)
    return f"{mean(scores):.4f}{' †' * edge}"


def mean(values: list[float]) -> float:
    """Return the mean."""
    return statistics.fmean(values)


def notes(record: Mapping[str, Any]) -> Iterator[str]:
    """Yield the notes below the table."""
    for place, budget in enumerate(record["spec"]["budgets"]):
        failed = [
            each["failed"]
            for seed in record["seeds"]
            if "failed" in (each := seed["assemblies"][place])
        ]
        if failed:
            yield f"{budget:.0%}: {failed[0]}."
    if any("†" in cell for row in rows(record) for cell in row):
        yield "†: a chosen learning rate lies at the edge of those tried."
    yield from ranked(record)
    for reason, ways in failed_ways(record).items():
        yield f"{', '.join(ways)}: {reason}."
    yield from seen(record["spec"])
    if record["spec"].get("inputs") is None:
        equal = "End to end, pruned and scratch each get as much computation as capture, students, "
        equal += "their choice and healing together"
    else:
        equal = "End to end gets as much computation as capture, students and their choice "
        equal += "together, including the outputs of the teacher's pieces for drawn inputs"
    yield (
        f"{equal}. Shared: the cost of the library is divided among the budgets. Whole: each "
        "budget counts all of it."
    )
    yield (
        "The learning rates of whole models are searched in the same way for every method; the "
        "cost of the search is not included."
    )


def ranked(record: Mapping[str, Any]) -> Iterator[str]:
    """Yield the note on the rank correlation of the assemblies' predicted and measured losses."""
    found = [each for seed in record["seeds"] if (each := correlation(seed.get("ranking", ())))]
    if found:
        several = ", mean over seeds" * (len(found) > 1)
        yield (
            "Rank correlation (Spearman) of the predicted and the measured validation loss of "
            f"merged assemblies: {mean([value for value, _ in found]):.2f}{several} "
            f"({min(count for _, count in found)} assemblies or more per seed)."
        )


def correlation(ranking: Sequence[Mapping[str, Any]]) -> tuple[float, int] | None:
    """Return Spearman's rank correlation of predicted and measured losses, and their number.

    None if there are fewer than three assemblies, or one of the two losses is the same for all.
    """
    from scipy.stats import spearmanr

    pairs = [(each["predicted"], each["validation_loss"]) for each in ranking]
    if len(pairs) < 3 or any(len({*column}) < 2 for column in zip(*pairs, strict=True)):
        return None
    return float(spearmanr(*zip(*pairs, strict=True)).statistic), len(pairs)


def failed_ways(record: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the methods that failed, by reason."""
    found: dict[str, list[str]] = {}
    for way in WAYS:
        for seed in record["seeds"]:
            for each in seed["assemblies"]:
                reason = each.get("ways", {}).get(way, {}).get("failed")
                if reason is not None and way not in found.setdefault(reason, []):
                    found[reason].append(way)
    return found


def seen(spec: Mapping[str, Any]) -> Iterator[str]:
    """Yield the notes on the students' data, if they do not learn from all training samples."""
    samples, inputs = spec.get("samples"), spec.get("inputs")
    if inputs is not None:
        yield (
            f"Inputs are drawn by {label(inputs)}: the inputs of each student, and the inputs of "
            "the network for end to end. Shapes and moments come from at most "
            f"{samples or KNOWN:,} training samples. There are no labels, so nothing is healed, "
            "pruned or trained from scratch."
        )
    elif samples is not None:
        yield f"Students and whole models use {samples:,} training samples."
    if samples is not None or inputs is not None:
        yield (
            "The teacher is trained on all training samples. Assemblies and learning rates are "
            "chosen on all validation data."
        )
