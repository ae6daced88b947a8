"""What a step of each rule costs, relative to backprop in plain PyTorch with nothing attached."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from rich.progress import Progress

from beyondprop import rules
from beyondprop.errors import UserError
from beyondprop.experiment.plan import ComparePlan, factory
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
    names: Sequence[str],
    progress: Progress,
) -> Costs:
    """Measure a step on one batch of the task, by every rule.

    A measure that fails (memory, where the task cannot travel to another process) is left out, and
    the reason is said.

    Args:
        plan: The comparison's.
        task: Whose model, loss and optimizer are stepped.
        train: Training data; its first examples are the batch.
        names: The rules to measure, all by the first optimizer at its lowest learning rate.
        progress: Bars to draw on.
    """
    batch = batch_of(plan, train)
    plain = step_of(plan, task, batch, None)
    subjects = [
        Subject(
            step=step_of(plan, task, batch, rule),
            plain_step=plain,
            device=plan.device,
        )
        for rule in names
    ]
    asked = [
        measure
        for measure in find_all(plan.measures)
        if "step" in measure.traits.needs
        if not any(measure.lacking(subject) for subject in subjects)
    ]
    costs: Costs = {rule: {} for rule in names}
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


def batch_of(plan: ComparePlan, train: Samples) -> tuple[Any, Any]:
    """Return the batch that is stepped: the first examples of the training data."""
    # By numbers, as a slice would take the whole data set to another process.
    return train.batch(torch.arange(min(plan.batch_size, len(train))))


def step_of(
    plan: ComparePlan, task: Task, batch: tuple[Any, Any], rule: str | None
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
        factory(task, plan.tried[plan.first.optimizer]),
        plan.first.learning_rate,
        plan.blocks if rule else None,
        task.output,
        task.axes,
    )
