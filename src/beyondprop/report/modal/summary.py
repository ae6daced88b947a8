"""The sentences under the headline of a comparison of methods for several modalities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from beyondprop.experiment.modal_methods import OURS
from beyondprop.experiment.statistics import Difference
from beyondprop.experiment.summary import mean
from beyondprop.report.differences import apart, few_seeds, tested, uncompared
from beyondprop.report.modal.cells import written
from beyondprop.report.modal.findings import findings, scores_of
from beyondprop.report.modal.records import ModalComparison, title
from beyondprop.report.text import (
    ScoreFormat,
    by_reason,
    capital,
    count,
    listing,
)


def summary(found: ModalComparison) -> list[str]:
    """Return the sentences under the headline: the methods, the differences, the failures."""
    return [
        _what(found),
        *_ours(found),
        *_told_apart(found),
        *_failures(found),
        *few_seeds(len(found.seeds)),
    ]


def _what(found: ModalComparison) -> str:
    """Return a description of pre-training, and what all methods have in common."""
    names = found.modalities
    return (
        f"Each sample has {len(names)} modalities, parts of different kinds: {listing(names)}."
        " Pre-training trains a sub-network for each of them alone;"
        f" {_joined(found)} and the whole network is trained together. Every method that trains the"
        " whole network gets as much computation as these stages take."
    )


def _joined(found: ModalComparison) -> str:
    """Return a description of the fusion, which may be another one than attention."""
    if found.fusion in ("", "Attention"):
        return (
            "attention then gives each modality of each sample a weight (the weights of a sample"
            " add up to one),"
        )
    return f"a fusion ({found.fusion}) then joins their features,"


def _ours(found: ModalComparison) -> Iterator[str]:
    values = [*scores_of(found).get(OURS, {}).values()]
    if values:
        scores, task = ScoreFormat.of(found.task), found.task
        on = f"On {task.data or task.name}" + f" ({count(task.test)} test samples)" * bool(
            task.test
        )
        several = f" (mean over {len(values)} seeds)" * (len(values) > 1)
        reached = scores.full(mean(values))
        yield f"{on} {OURS} reaches {reached} test {scores.metric}{several}."


def _told_apart(found: ModalComparison) -> Iterator[str]:
    """Yield sentences on how pre-training differs from other methods; none for one seed."""
    known, scores = findings(found), ScoreFormat.of(found.task)
    if not known.pairs:
        return
    by = tested(len(known.pairs))
    real = [each for each in known.pairs.values() if apart(each)]
    others = [each for each in known.pairs.values() if not apart(each)]
    yield f"Significant differences of {OURS} ({by}): {_each(real, scores) or 'none'}."
    if others:
        yield f"No significant difference: {_each(others, scores)}."
    if known.unpaired:
        yield uncompared([title(name) for name in known.unpaired])


def _each(pairs: Sequence[Difference], scores: ScoreFormat) -> str:
    """Return differences one by one, the largest first."""
    largest = sorted(pairs, key=lambda each: -abs(each.interval.value))
    return listing([f"{title(each.second)} ({written(each, scores)})" for each in largest])


def _failures(found: ModalComparison) -> Iterator[str]:
    """Yield why a method has no result."""
    for name in found.methods:
        reasons = {seed.seed: why for seed in found.seeds if (why := seed.methods[name].failed)}
        for reason, seeds in by_reason(reasons):
            yield f"{capital(title(name))} failed with {seeds}: {reason}."
