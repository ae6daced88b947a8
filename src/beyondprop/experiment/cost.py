"""What a step of each rule costs, relative to backprop in plain PyTorch with nothing attached."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from rich.progress import Progress

from beyondprop import rules
from beyondprop.engine.untouched import generators_kept
from beyondprop.errors import FAULTS, UserError
from beyondprop.experiment.plan import ComparePlan, factory
from beyondprop.experiment.setup import torch_settings
from beyondprop.jobs.progress import bar
from beyondprop.measure import Step, Subject, find_all, rule_step
from beyondprop.measure.base import given
from beyondprop.registry.dotted import one_line
from beyondprop.tasks import Samples, Task
from beyondprop.tasks.order import drawn

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
    the reason is said; so is a rule whose step can't be taken on the batch.

    Args:
        plan: The comparison's.
        task: Whose model, loss and optimizer are stepped.
        train: Training data, of which the batch is drawn.
        names: The rules to measure, all by the first optimizer at its lowest learning rate.
        progress: Bars to draw on.
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
            except FAULTS as error:  # whatever a model or a measure does wrong
                reason = str(error) if isinstance(error, UserError) else one_line(error)
                progress.console.print(f"{measure.title.lower()} is not measured: {reason}")
                continue
            progress.advance(shown)
    return costs


def fails(subject: Subject) -> str | None:
    """Return why a rule's step can't be taken on the batch, None where it can."""
    try:
        given(subject.step, "a step")()()
    except FAULTS as error:  # whatever a model or a rule does wrong
        return str(error) if isinstance(error, UserError) else one_line(error)
    return None


def batch_of(plan: ComparePlan, train: Samples) -> tuple[Any, Any]:
    """Return the batch that is stepped, drawn from the training data."""
    return train.batch(drawn(len(train), plan.batch_size))


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
