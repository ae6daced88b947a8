"""When the blocks of a run learn: the schedules by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from beyondprop.errors import UserError
from beyondprop.experiment.pipeline_steps import PipelineSteps
from beyondprop.experiment.plan import RunPlan
from beyondprop.experiment.processes import PIPELINE
from beyondprop.experiment.steps import LocalSteps, Steps
from beyondprop.schedules import Immediate
from beyondprop.tasks import Samples, Task

MakeSteps = Callable[[RunPlan, Task, Samples], Steps]

SCHEDULES: dict[str, MakeSteps] = {
    "joint": LocalSteps,
    "immediate": partial(LocalSteps, schedule=Immediate),
    PIPELINE: PipelineSteps,
}
"""What makes a run's steps, by the schedule's name."""


def find(name: str) -> MakeSteps:
    """Return what makes the steps under the schedule of this name.

    Raises:
        UserError: There is no such schedule.
    """
    if name not in SCHEDULES:
        raise UserError(f"unknown schedule '{name}'; there are {', '.join(SCHEDULES)}")
    return SCHEDULES[name]
