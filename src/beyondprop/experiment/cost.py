"""The cost of each rule's step, relative to backprop in plain PyTorch with nothing attached."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from rich.progress import Progress

from beyondprop import rules
from beyondprop.engine.untouched import generators_kept
from beyondprop.errors import FAULTS, UserError, one_line
from beyondprop.experiment.plan import ComparePlan, factory
from beyondprop.experiment.setup import torch_settings
from beyondprop.jobs.progress import bar
from beyondprop.measure import Step, Subject, find_all, rule_step
from beyondprop.measure.base import given
from beyondprop.tasks import Samples, Task
from beyondprop.tasks.order import drawn

Costs = dict[str, dict[str, Any]]
"""The measured figures of each rule, by key."""


def measure_costs(
    plan: ComparePlan,
    task: Task,
    train: Samples,
    names: Sequence[str],
    progress: Progress,
) -> Costs:
    """Measure a step of every rule on one batch of the task.

    A measure that fails is left out, with a message that says why. An example is memory if the task
    cannot be sent to another process. So is a rule whose step fails on the batch.

    Args:
        plan: The comparison's plan.
        task: The task, with the model, loss and optimizer of the step.
        train: Training data from which the batch is drawn.
        names: The rules to measure, all with the first optimizer at its lowest learning rate.
        progress: Progress bars to draw on.
    """
    batch = batch_of(plan, train)
    plain = step_of(plan, task, batch, None)
    subjects = {
        rule: Subject(
            step=step_of(plan, task, batch, rule),
            plain_step=plain,
            device=plan.device,
        )
        for rule in names
    }
    asked = [
        measure
        for measure in find_all(plan.measures)
        if "step" in measure.traits.needs
        if not any(measure.lacking(subject) for subject in subjects.values())
    ]
    costs: Costs = {rule: {} for rule in names}
    if not asked:
        return costs
    with torch_settings(plan), generators_kept([train.device]):
        failing = {rule: said for rule in names if (said := fails(subjects[rule]))}
    for rule, said in failing.items():
        progress.console.print(f"the cost of {rule} is not measured: {said}")
        del subjects[rule]
    with bar(progress, "cost", len(asked)) as shown:
        for measure in asked:
            progress.update(shown, description=measure.title.lower())
            try:
                found = measure.run_together([*subjects.values()])
                for rule, figures in zip(subjects, found, strict=True):
                    costs[rule] |= figures.values
            except FAULTS as error:  # any error of a model or a measure
                reason = str(error) if isinstance(error, UserError) else one_line(error)
                progress.console.print(f"{measure.title.lower()} is not measured: {reason}")
                continue
            progress.advance(shown)
    return costs


def fails(subject: Subject) -> str | None:
    """Return why a rule's step fails on the batch, or None."""
    try:
        given(subject.step, "a step")()()
    except FAULTS as error:  # any error of a model or a rule
        return str(error) if isinstance(error, UserError) else one_line(error)
    return None


def batch_of(plan: ComparePlan, train: Samples) -> tuple[Any, Any]:
    """Return the batch for the step, drawn from the training data."""
    return train.batch(drawn(len(train), plan.batch_size))


def step_of(
    plan: ComparePlan, task: Task, batch: tuple[Any, Any], rule: str | None
) -> partial[Step]:
    """Return a function that builds a rule's step.

    It can be sent to another process if the task's parts can.
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
