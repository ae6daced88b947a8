"""Facts about a comparison of methods for several modalities that a reader needs to judge it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from beyondprop.experiment.summary import mean
from beyondprop.measure.base import ABSENT
from beyondprop.registry import label
from beyondprop.report.facts import Fact, examples, origin_facts
from beyondprop.report.modal.records import Computation, ModalComparison, title
from beyondprop.report.text import count, listing

WORDS = ((1e12, "trillion"), (1e9, "billion"), (1e6, "million"))
SETTINGS = {
    "epochs": "joint epochs",
    "warm_epochs": "epochs of the fusion alone before them",
    "alone_epochs": "epochs of single modalities (at most)",
    "patience": "epochs without a lower validation loss before these stop",
    "batch_size": "batch size",
    "dropout": "of the modalities dropped at random in training",
    "rule": "rule",
}
"""Settings by their names for readers; unset ones are the task's."""


def facts(found: ModalComparison) -> list[Fact]:
    """Return the known facts about the task, the settings, the budget, the command, the versions
    and the machine.
    """
    told = [
        Fact("Task", found.task.name),
        Fact("Data", found.task.data),
        Fact("Examples", examples(found.task)),
        Fact("Modalities", listing(found.modalities)),
        Fact("Fusion", found.fusion),
        Fact("Methods", listing([title(name) for name in found.methods])),
        Fact("Seeds", listing([str(each.seed) for each in found.seeds])),
        Fact("Budget", _budget(found)),
        Fact("Training", _settings(found)),
        Fact("Learning rates", _rates(found.spec.get("rates"))),
        *origin_facts(found.provenance),
        Fact("Settings", "spec.yaml in its folder: beyondprop modalities --config spec.yaml"),
    ]
    return [fact for fact in told if fact.text]


def _budget(found: ModalComparison) -> str:
    """Return the computation budget of every method, and its parts."""

    def over_seeds(values: Sequence[float | None]) -> str:
        return operations(mean([each for each in values if each is not None]))

    budgets: list[Computation] = [each.budget for each in found.seeds]
    total = over_seeds([each.total for each in budgets])
    parts = (
        f"{over_seeds([each.alone for each in budgets])} for the modalities alone",
        f"{over_seeds([each.warm for each in budgets])} for the fusion alone",
        f"{over_seeds([each.joint for each in budgets])} for the whole network",
    )
    of = " (mean over seeds)" * (len(budgets) > 1)
    return (
        f"{total} floating-point operations of training per method and seed{of}: {listing(parts)}"
    )


def operations(value: float | None) -> str:
    """Return a number of operations: `2,142 thousand` is `2.14 million`."""
    if value is None:
        return ABSENT
    for unit, word in WORDS:
        if value >= unit:
            return f"{value / unit:,.3g} {word}"
    return count(value)


def _settings(found: ModalComparison) -> str:
    known = {told: found.spec.get(name) for name, told in SETTINGS.items()}
    return ", ".join(f"{told} {label(value)}" for told, value in known.items() if value is not None)


def _rates(rates: Any) -> str:
    """Return the learning rates that were tried, in words."""
    if not isinstance(rates, Sequence) or isinstance(rates, str):
        return ""
    tried = listing([label(each) for each in rates])
    return (
        f"{tried}, and more beyond an edge; chosen for each modality and method on validation data"
    )
