"""What a step of each rule costs, relative to backprop in plain PyTorch with nothing attached."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from rich.progress import Progress

from beyondprop import rules
from beyondprop.errors import UserError
from beyondprop.experiment.plan import ComparePlan
from beyondprop.experiment.progress import bar
from beyondprop.measure import (
    Case,
    PeakMemory,
    Step,
    peak_memory,
    rule_step,
)
from beyondprop.measure.memory import RESOLUTION
from beyondprop.measure.step_time import summarize, timed_rounds
from beyondprop.tasks import Split, Task

PLAIN = "plain PyTorch"
ROUNDS, WARMUP, SECONDS, FEWEST = 300, 10, 10.0, 20

Costs = dict[str, dict[str, Any]]
"""For each rule those figures of `summary.COSTS` that were measured."""


def measure_costs(
    plan: ComparePlan,
    task: Task,
    train: Split,
    learning_rates: Mapping[str, float],
    progress: Progress,
) -> Costs:
    """Measures a step on one batch of the task, by every rule.

    Args:
        plan: The comparison's.
        task: Whose model, loss and optimizer are stepped.
        train: Training data; its first examples are the batch.
        learning_rates: Of the rules to measure.
        progress: Bars to draw on.
    """
    batch = Split(train.inputs[: plan.batch_size].clone(), train.targets[: plan.batch_size].clone())
    cases = [Case(PLAIN, step_of(plan, task, batch, None, task.learning_rate))] + [
        Case(rule, step_of(plan, task, batch, rule, rate)) for rule, rate in learning_rates.items()
    ]
    times, memory = step_times(cases, progress), memories(cases, plan.device, progress)
    return {case.name: times[case.name] | memory.get(case.name, {}) for case in cases[1:]}


def step_of(
    plan: ComparePlan, task: Task, batch: Split, rule: str | None, learning_rate: float
) -> partial[Step]:
    """What builds a rule's step; it can be sent to another process where the task's parts can."""
    return partial(
        rule_step,
        task.model,
        rules.make(plan.names[rule], plan.seeds[0]) if rule else None,
        batch.inputs,
        batch.targets,
        task.loss,
        task.optimizer,
        learning_rate,
        plan.blocks if rule else None,
    )


def step_times(cases: list[Case], progress: Progress) -> Costs:
    """Times the steps, interleaved, for some seconds."""
    rounds = []
    begun = time.perf_counter()
    with bar(progress, "step time", ROUNDS) as shown:
        for seconds in timed_rounds(cases, ROUNDS, WARMUP):
            rounds.append(seconds)
            progress.advance(shown)
            if time.perf_counter() - begun > SECONDS and len(rounds) >= FEWEST:
                break
    found = summarize(cases, rounds)
    plain = found[PLAIN].seconds
    return {
        name: {
            # Not the case's own median: on a noisy machine that contradicts the ratio, which is
            # taken within rounds and is the figure to trust.
            "step_seconds": each.ratio * plain,
            "step_ratio": each.ratio,
            "step_quartiles": list(each.quartiles),
            "plain_step_seconds": plain,
        }
        for name, each in found.items()
    }


def memories(cases: list[Case], device: str, progress: Progress) -> Costs:
    """Measures peak memory, a fresh process a case; where that cannot be done, says why."""
    found = {}
    with bar(progress, "peak memory", len(cases)) as shown:
        for case in cases:
            try:
                found[case.name] = peak_memory(case.build, device=device)
            except UserError as reason:
                progress.console.print(f"peak memory is not measured: {reason}")
                return {}
            progress.advance(shown)
    kind, held = of_one_kind(found)
    plain = held[PLAIN]
    return {
        name: {
            "memory_bytes": bytes_,
            "memory_ratio": bytes_ / plain if plain else None,
            "memory_kind": kind,
            "plain_memory_bytes": plain,
        }
        for name, bytes_ in held.items()
    }


def of_one_kind(peaks: Mapping[str, PeakMemory]) -> tuple[str, dict[str, int]]:
    """The bytes of every case, all counted alike, as only then they can be compared.

    Returns:
        "resident" with what the operating system saw, or, where that is too coarse for some case,
        "tensors" with what tensors held.
    """
    seen = {name: peak.resident_bytes or 0 for name, peak in peaks.items()}
    if min(seen.values()) >= RESOLUTION:
        return "resident", seen
    return "tensors", {name: peak.tensor_bytes for name, peak in peaks.items()}
