"""Schedules by name: when the blocks of a run learn."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from beyondprop.errors import UserError
from beyondprop.experiment.pipeline_steps import PipelineSteps
from beyondprop.experiment.plan import RunPlan
from beyondprop.experiment.processes import PIPELINE
from beyondprop.experiment.steps import LocalSteps, Steps
from beyondprop.schedules import Immediate
from beyondprop.tasks import Samples, Task
from beyondprop.text import did_you_mean

MakeSteps = Callable[[RunPlan, Task, Samples], Steps]


class Kind(NamedTuple):
    """A schedule.

    Attributes:
        summary: Description in one line.
        steps: Makes a run's steps.
    """

    summary: str
    steps: MakeSteps


SCHEDULES = {
    "joint": Kind("Blocks learn after the forward pass, in the loss's backward pass.", LocalSteps),
    "immediate": Kind(
        "Each block learns within the forward pass, as soon as it has run.",
        partial(LocalSteps, schedule=Immediate),
    ),
    PIPELINE: Kind(
        "Blocks learn in parallel on several processes, which torchrun starts.", PipelineSteps
    ),
}
"""Schedules by name."""


def find(name: str) -> MakeSteps:
    """Return the function that makes the steps of the named schedule.

    Raises:
        UserError: The schedule is unknown.
    """
    if name not in SCHEDULES:
        hint = did_you_mean(name, SCHEDULES)
        raise UserError(f"unknown schedule '{name}'; there are {', '.join(SCHEDULES)}{hint}")
    return SCHEDULES[name].steps
