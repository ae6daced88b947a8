"""The table of a comparison of multimodal training methods, and its notes."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from beyondprop.experiment.modal_methods import OURS
from beyondprop.experiment.statistics import Difference, differences, paired
from beyondprop.measure.base import ABSENT

HEADS = (
    *("score", "± 95%", f"{OURS} minus this", "operations", "to target"),
    *("seconds", "runs"),
)


def modal_table(record: Mapping[str, Any]) -> Table:
    """Return the mean test score of each method over seeds, the best first."""
    shown = Table(
        title="test score, mean over seeds",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
    )
    shown.add_column("method", no_wrap=True)
    for column in HEADS:
        shown.add_column(column, justify="right")
    for row in rows(record):
        shown.add_row(*row)
    return shown


def rows(record: Mapping[str, Any]) -> Iterator[list[str]]:
    """Yield the cells of each method, the best first."""
    found = scores(record)
    pairs = against(found, step(record))
    total = statistics.mean(seed["budget"]["total"] for seed in record["seeds"])
    ordered = sorted(found, key=lambda name: -mean(list(found[name].values())))
    for name in ordered:
        values = list(found[name].values())
        spent = [seed["methods"][name].get("operations") for seed in record["seeds"]]
        known = [each for each in spent if each is not None]
        marked = " †" * any(seed["methods"][name].get("edge", False) for seed in record["seeds"])
        yield [
            name,
            (f"{mean(values):.4f}" if values else ABSENT) + marked,
            half(values),
            difference(pairs.get(name)),
            f"{statistics.mean(known) / total:.0%}" if known else ABSENT,
            to_target(record, name),
            seconds(record, name),
            f"{len(values)} of {len(record['seeds'])}",
        ]


def to_target(record: Mapping[str, Any], name: str) -> str:
    """Return the share of the budget that a method needs to reach the target.

    It is the mean over the seeds that reach it.
    """
    every = [(seed, seed["methods"][name].get("to_target")) for seed in record["seeds"]]
    known = [cost["operations"] / seed["budget"]["total"] for seed, cost in every if cost]
    if not known:
        return ABSENT
    some = f" ({len(known)} of {len(every)})" * (len(known) < len(every))
    return f"{statistics.mean(known):.0%}{some}"


def seconds(record: Mapping[str, Any], name: str) -> str:
    """Return the seconds of a method's training, mean over seeds."""
    every = [seed["methods"][name].get("seconds") for seed in record["seeds"]]
    known = [each for each in every if each is not None]
    return f"{statistics.mean(known):.3g}" if known else ABSENT


def scores(record: Mapping[str, Any]) -> dict[str, dict[int, float]]:
    """Return the test scores of each method by seed, without failed trainings."""
    return {
        name: {
            seed["seed"]: seed["methods"][name]["score"]
            for seed in record["seeds"]
            if seed["methods"][name].get("score") is not None
        }
        for name in record["seeds"][0]["methods"]
    }


def against(
    found: Mapping[str, Mapping[int, float]], resolution: float = 0.0
) -> dict[str, Difference]:
    """Return how pre-training differs from each method that has results for the same seeds.

    Args:
        found: Test scores of each method by seed.
        resolution: Smallest possible difference of two scores; see `paired`.
    """
    own = found.get(OURS, {})
    known = {
        name: [of[seed] for seed in own]
        for name, of in found.items()
        if own and set(of) >= set(own)
    }
    pairs = [(OURS, name) for name in known if name != OURS]
    return {each.second: each for each in differences(known, 0.0, resolution, pairs)}


def step(record: Mapping[str, Any]) -> float:
    """Return the smallest possible difference of two scores: one test sample for an accuracy."""
    task = record["seeds"][0]["task"]
    return 1 / task["test"] if "accuracy" in task["metric"].lower() else 0.0


def difference(pair: Difference | None) -> str:
    """Return the mean advantage of pre-training, with half of its interval."""
    if pair is None:
        return ABSENT
    spread = (pair.interval.high - pair.interval.low) / 2
    return f"{pair.interval.value:+.4f} ± {spread:.4f}"


def half(values: Sequence[float]) -> str:
    """Return the half-width of the 95 % interval of a mean over seeds."""
    found = paired(values, None)
    return ABSENT if found is None else f"{(found.high - found.low) / 2:.4f}"


def mean(values: Sequence[float]) -> float:
    """Return the mean, minus infinity if there are no values."""
    return statistics.mean(values) if values else -math.inf


def notes(record: Mapping[str, Any]) -> Iterator[str]:
    """Yield the notes below the table: what costs include, rates at the edge, and failures."""
    yield (
        "Operations count the training of each modality alone and of the whole network after it, "
        f"relative to {OURS}. The cost of the learning-rate search is not included; the record "
        "gives it as searched_operations. Seconds are the time of the same training on the machine "
        "of the record, without validation."
    )
    yield from targets(record)
    marked = [
        name
        for name in record["seeds"][0]["methods"]
        if any(seed["methods"][name].get("edge") for seed in record["seeds"])
    ]
    if marked:
        yield f"†: the best learning rate lies at the edge of those tried ({', '.join(marked)})."
    for name, of in convergence(record).items():
        yield f"Trained alone, {name} {of}."
    for seed in record["seeds"]:
        for name, each in seed["methods"].items():
            if "failed" in each:
                yield f"{name} failed with seed {seed['seed']}: {each['failed']}"


def targets(record: Mapping[str, Any]) -> Iterator[str]:
    """Yield the note on the target's validation score; nothing for records without a target."""
    known = sorted(seed["target"] for seed in record["seeds"] if seed.get("target") is not None)
    if known:
        ends = " to ".join(dict.fromkeys(f"{each:.4f}" for each in (known[0], known[-1])))
        own = record["spec"].get("target") is None
        what = ", which the best single modality reaches with the same seed" * own
        yield (
            f"To target: the share of operations, including earlier stages, until the validation "
            f"score first reaches {ends}{what}; {ABSENT} if it never does."
        )


def convergence(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the epochs and the share of operations until each modality converged, in words.

    Records of earlier versions do not contain them. See `modal_course.converged`.
    """
    found = {}
    for name in record["seeds"][0]["alone"]:
        pairs = [(seed, seed["alone"][name].get("converged")) for seed in record["seeds"]]
        known = [
            (of["epochs"], of["operations"] / seed["budget"]["total"]) for seed, of in pairs if of
        ]
        if known:
            epochs, shares = (statistics.mean(each) for each in zip(*known, strict=True))
            some = f" ({len(known)} of {len(pairs)} seeds)" * (len(known) < len(pairs))
            took = f"{epochs:.3g} epochs, {shares:.0%} of the operations"
            found[name] = f"converges after {took}{some}"
        elif all("converged" in seed["alone"][name] for seed in record["seeds"]):
            found[name] = "never converges: its validation loss does not fall"
    return found
