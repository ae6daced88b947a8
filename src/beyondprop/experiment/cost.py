"""What a step of each rule costs, relative to backprop in plain PyTorch with nothing attached."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from rich.progress import Progress

from beyondprop import rules
from beyondprop.errors import UserError
from beyondprop.experiment.plan import ComparePlan
from beyondprop.jobs.progress import bar
from beyondprop.measure import Step, Subject, find_all, rule_step
from beyondprop.registry.dotted import one_line
from beyondprop.tasks import Samples, Task

Costs = dict[str, dict[str, Any]]
"""For each rule the figures that were measured, by their keys."""


def measure_costs(
    plan: ComparePlan,
    task: Task,
    train: Samples,
    learning_rates: Mapping[str, float],
    progress: Progress,
) -> Costs:
    """Measure a step on one batch of the task, by every rule.

    A measure that fails (memory, where the task cannot travel to another process) is left out, and
    the reason is said.

    Args:
        plan: The comparison's.
        task: Whose model, loss and optimizer are stepped.
        train: Training data; its first examples are the batch.
        learning_rates: Of the rules to measure.
        progress: Bars to draw on.
    """
    # By numbers, as a slice would take the whole data set to another process.
    batch = train.batch(torch.arange(min(plan.batch_size, len(train))))
    plain = step_of(plan, task, batch, None, task.learning_rate)
    subjects = [
        Subject(
            step=step_of(plan, task, batch, rule, rate),
            plain_step=plain,
            device=plan.device,
        )
        for rule, rate in learning_rates.items()
    ]
    asked = [
        measure
        for measure in find_all(plan.measures)
        if "step" in measure.traits.needs
        if not any(measure.lacking(subject) for subject in subjects)
    ]
    costs: Costs = {rule: {} for rule in learning_rates}
    with bar(progress, "cost", len(asked)) as shown:
        for measure in asked:
            progress.update(shown, description=measure.title.lower())
            try:
                found = measure.run_together(subjects)
                for rule, figures in zip(costs, found, strict=True):
                    costs[rule] |= figures.values
            except Exception as error:  # whatever a model or a measure does wrong
                reason = str(error) if isinstance(error, UserError) else one_line(error)
                progress.console.print(f"{measure.title.lower()} is not measured: {reason}")
                continue
            progress.advance(shown)
    return costs


def step_of(
    plan: ComparePlan, task: Task, batch: tuple[Any, Any], rule: str | None, learning_rate: float
) -> partial[Step]:
    """Return what builds a rule's step; it can be sent to another process where the task's parts
    can.
    """
    return partial(
        rule_step,
        task.model,
        rules.make(plan.names[rule], plan.seeds[0]) if rule else None,
        *batch,
        task.loss,
        task.optimizer,
        learning_rate,
        plan.blocks if rule else None,
    )
