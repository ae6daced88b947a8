"""Facts about a distillation that a reader needs to judge it and to repeat it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from beyondprop.registry import label
from beyondprop.report.distilled.records import Distillation
from beyondprop.report.facts import Fact, examples, origin_facts
from beyondprop.report.text import count, listing, share


def facts(found: Distillation) -> list[Fact]:
    """Return the known facts about the task, the settings, the command, the versions and the
    machine."""
    spec = found.spec
    told = [
        Fact("Task", found.task.name),
        Fact("Data", found.task.data),
        Fact("Examples", examples(found.task)),
        Fact("Neighbourhoods", listing(found.neighbourhoods)),
        Fact("Candidates", listing(found.candidates)),
        Fact("Budgets", f"{listing([share(each) for each in found.budgets])} of the {found.limit}"),
        Fact("Seeds", listing([str(each.seed) for each in found.seeds])),
        Fact("Teacher", _teacher(found)),
        Fact("Students", _settings(found, epochs="epochs", learning_rate="learning rate")),
        Fact("Healing", _settings(found, heal_epochs="epochs", rule="rule")),
        Fact("Learning rates", _rates(spec.get("rates"))),
        *origin_facts(found.provenance),
        Fact("Settings", "spec.yaml in its folder: beyondprop distil --config spec.yaml"),
    ]
    return [fact for fact in told if fact.text]


def _teacher(found: Distillation) -> str:
    """Return how teachers are trained and the cost of one."""
    epochs = found.spec.get("teacher_epochs")
    trained = "backprop" + (f", epochs {label(epochs)}" if epochs is not None else "")
    operations = found.seeds[0].operations
    cost = f"; {count(operations)} operations per sample" if operations else ""
    return f"{trained}{cost}"


def _settings(found: Distillation, **names: str) -> str:
    """Return some settings by their names for readers, without unset ones."""
    known = {told: found.spec.get(name) for name, told in names.items()}
    if found.spec.get("batch_size") is not None:
        known["batch size"] = found.spec["batch_size"]
    return ", ".join(f"{told} {label(value)}" for told, value in known.items() if value is not None)


def _rates(rates: Any) -> str:
    """Return the learning rates of whole networks."""
    if not isinstance(rates, Sequence) or isinstance(rates, str):
        return ""
    tried = listing([label(each) for each in rates])
    return f"of whole networks {tried}, and more beyond an edge; chosen on validation data"
