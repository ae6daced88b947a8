"""Facts about the runs that a reader needs to judge a comparison and to repeat it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from beyondprop.report.records import Comparison, TaskFacts
from beyondprop.report.text import (
    count,
    duration,
    label,
    listing,
    plural,
    rate,
)


@dataclass(frozen=True)
class Fact:
    """A term and its text; `code` if the text is code."""

    term: str
    text: str
    code: bool = False


def facts(comparison: Comparison) -> list[Fact]:
    """Return the known facts about the task, the budget, the command, the versions and the
    machine."""
    task = comparison.task
    found = [
        Fact("Task", task.name),
        Fact("Data", task.data),
        Fact("Examples", examples(comparison.task)),
        Fact("Rules", listing([label(row.rule) for row in comparison.rows])),
        Fact("Seeds", listing([str(seed) for seed in comparison.seeds])),
        Fact("Each run", _budget(comparison)),
        Fact("Learning rates", _tuned(comparison)),
        Fact("Device", str(_setting(comparison, "device") or "")),
        *origin_facts(comparison.provenance),
    ]
    return [fact for fact in found if fact.text]


def origin_facts(origin: Mapping[str, Any]) -> list[Fact]:
    """Return the command, the versions and the machine of a record; unknown facts have no text."""
    return [
        Fact("Command", str(origin.get("command") or ""), code=True),
        Fact("Started", _moment(origin)),
        Fact("Versions", _pairs(origin.get("versions"))),
        Fact("Source commit", str(origin.get("commit") or ""), code=True),
        Fact("Machine", _machine(origin.get("hardware"))),
    ]


def attached(comparison: Comparison) -> list[tuple[str, str]]:
    """Return what each rule changed in the network, as its first run reported it."""
    texts = {run.rule: run.attached for run in reversed(comparison.runs) if run.attached}
    return [(label(row.rule), texts[row.rule]) for row in comparison.rows if row.rule in texts]


def _setting(comparison: Comparison, name: str) -> Any:
    """Return a setting of the comparison, or else the value that all its runs share."""
    if comparison.spec.get(name) is not None:
        return comparison.spec[name]
    values = [run.spec.get(name) for run in comparison.runs]
    return values[0] if values and values.count(values[0]) == len(values) else None


def examples(task: TaskFacts) -> str:
    """Return the number of examples in each split of the data."""
    training = "training (augmented)" if task.augmented else "training"
    parts = {training: task.train, "validation": task.validation, "test": task.test}
    return listing([f"{count(n)} {name}" for name, n in parts.items() if n is not None])


def _budget(comparison: Comparison) -> str:
    trained = [run for run in comparison.runs if run.finished and not run.solved]
    ends = [run.curve[-1] for run in trained if run.curve]
    steps, epochs = {end.step for end in ends}, {end.epoch for end in ends}
    parts = []
    if len(epochs) == 1:
        parts.append(plural(epochs.pop(), "epoch"))
    if len(steps) == 1 and (step := steps.pop()):
        parts.append(f"{count(step)} steps")
    if batch := _setting(comparison, "batch_size"):
        parts.append(f"batches of {batch}")
    if not parts:
        return ""
    return ", ".join(parts) + "; the test examples were scored once, with the final weights"


def _tuned(comparison: Comparison) -> str:
    tuning = comparison.tuning
    tried = sorted({t.learning_rate for t in tuning.trials if t.learning_rate is not None})
    if not tried:
        rates = {run.learning_rate for run in comparison.runs if run.learning_rate is not None}
        return f"{rate(rates.pop())}, not tuned" if len(rates) == 1 else ""
    if tuning.searches:
        return _searched(comparison)
    epochs = f" for {plural(tuning.epochs[-1], 'epoch')}" if tuning.epochs else ""
    seed = comparison.spec.get("tuning_seed")
    trained = " that is trained" * any(run.solved for run in comparison.runs)
    apart = f" with seed {seed}" if seed is not None else ""
    return (
        f"every rule{trained} tried {listing([rate(value) for value in tried])}{epochs}{apart}"
        " and kept the one with the best validation score"
    )


def _searched(comparison: Comparison) -> str:
    tuning = comparison.tuning
    lengths = listing([str(length) for length in tuning.epochs])
    unit = "epoch" if tuning.epochs == (1,) else "epochs"
    seed = comparison.spec.get("tuning_seed")
    return (
        f"every rule searched in trials of {lengths} {unit} with seed {seed}, with at most as much"
        f" compute as {tuning.budget:g} of backprop's longest trials, and kept the setting with the"
        " best validation score"
    )


def _moment(origin: Mapping[str, Any]) -> str:
    try:
        started = datetime.fromisoformat(origin["started"])
        finished = datetime.fromisoformat(origin["finished"])
        took = (finished - started).total_seconds()
    except (KeyError, TypeError, ValueError):
        return str(origin.get("started") or "")
    zone = started.tzname() or ""
    return f"{started:%Y-%m-%d %H:%M} {zone}".strip() + f", took {duration(max(took, 0))}"


def _pairs(values: Any) -> str:
    if not isinstance(values, Mapping):
        return ""
    return ", ".join(f"{name} {value}" for name, value in values.items() if value is not None)


def _machine(hardware: Any) -> str:
    if not isinstance(hardware, Mapping):
        return ""
    written: dict[str, Callable[[Any], str]] = {
        "cpu": str,
        "cores": lambda n: plural(n, "core"),
        "threads": lambda n: plural(n, "thread"),
        "memory_gib": lambda n: f"{n} GiB memory",
        "accelerator": str,
        "platform": str,
    }
    known = {name: hardware.get(name) for name in written}
    return ", ".join(written[name](v) for name, v in known.items() if v is not None)
