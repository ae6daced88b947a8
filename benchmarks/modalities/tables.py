"""The tables and sentences on networks of several modalities, made from records."""

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.common.tables import Cells
from beyondprop.experiment import modal_table
from beyondprop.experiment.modal_methods import OURS
from beyondprop.experiment.statistics import paired
from beyondprop.measure.base import ABSENT
from beyondprop.report.modal.headline import headline, helps
from beyondprop.report.modal.read import read_modalities

JOINT = "joint"
JOINED = "+"
"""Separates the names of given modalities."""
NOTHING = "No comparison of methods for several modalities is recorded yet."


def verdict(records: Iterable[dict[str, Any]]) -> str:
    """Return the findings of comparisons, one sentence each, as Markdown; those without a gain of
    pre-training come first.
    """
    known = sorted(map(read_modalities, records), key=helps)
    told = [f"{headline(each)}." for each in known]
    if len(told) < 2:
        return told[0] if told else NOTHING
    return "\n".join(f"- {sentence}" for sentence in told)


def methods(record: dict[str, Any]) -> Cells:
    """Return the results of each method: one row per method."""
    return ("method", *modal_table.HEADS), list(modal_table.rows(record))


def notes(record: dict[str, Any]) -> str:
    """Return the notes on a comparison, as Markdown."""
    return "\n".join(f"- {sentence}" for sentence in modal_table.notes(record))


def trust(record: dict[str, Any]) -> Cells:
    """Return the weights of fusions if it is known which modalities are informative: one row per
    method whose fusion has weights.

    For test samples with an uninformative modality: the weight on the informative ones, and the
    same for equal weights. For all samples: how often the modality with the largest weight is right
    on its own, and how often a random modality is.
    """
    lines = []
    for name in record["seeds"][0]["methods"]:
        found = [seed["methods"][name].get("trust") for seed in record["seeds"]]
        if all(each and "on_informative" in each for each in found):
            keys = ("on_informative", "share_informative", "picked_right", "mean_right")
            lines.append([name, *(spread([each.get(key) for each in found]) for key in keys)])
    lines.sort(key=lambda line: line[1], reverse=True)
    heads = (
        "weight on the informative modality",
        "equal weights",
        "first choice right",
        "by chance",
    )
    return ("method", *heads), lines


def missing(record: dict[str, Any]) -> Cells:
    """Return the scores if only some modalities are given, without retraining: one row per method
    and set of modalities, compared with the best of their sub-networks by validation.
    """
    lines = []
    for name in (OURS, JOINT):
        known = [seed["methods"].get(name, {}).get("missing") for seed in record["seeds"]]
        if not all(known):
            continue
        for given in known[0]:
            scores = [each[given] for each in known]
            alone = [best_alone(seed, given.split(JOINED)) for seed in record["seeds"]]
            less = None if None in (*scores, *alone) else paired(scores, alone)
            told = ABSENT if less is None else f"{less.value:+.4f} ± {less.high - less.value:.4f}"
            lines.append([name, given.replace(JOINED, " + "), spread(scores), spread(alone), told])
    return ("method", "given", "score", "best sub-network alone", "difference"), lines


def best_alone(seed: dict[str, Any], given: Sequence[str]) -> float | None:
    """Return the test score of the given modality with the best validation score."""
    best = max((seed["alone"][name] for name in given), key=lambda each: each["validation_score"])
    score: float | None = best["score"]
    return score


def spread(values: Sequence[float | None]) -> str:
    """Return a mean over seeds with half of its 95% interval; a dash if one is missing."""
    known = [each for each in values if each is not None]
    if len(known) < len(values) or not known:
        return ABSENT
    found = paired(known)
    half = "" if found is None else f" ± {found.high - found.value:.4f}"
    return f"{statistics.mean(known):.4f}{half}"
