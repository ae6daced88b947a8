"""When the blocks of a run learn: the schedules by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from rich.progress import Progress

from beyondprop.errors import UserError
from beyondprop.experiment.fit import Fit, fit
from beyondprop.experiment.fit_pipeline import fit_pipeline
from beyondprop.experiment.plan import RunPlan
from beyondprop.experiment.processes import PIPELINE
from beyondprop.schedules import Immediate
from beyondprop.tasks import Data, Task

Trainer = Callable[[RunPlan, Task, Data, Path, Progress], Fit]

SCHEDULES: dict[str, Trainer] = {
    "joint": fit,
    "immediate": partial(fit, schedule=Immediate),
    PIPELINE: fit_pipeline,
}
"""What trains a task's model, by the schedule's name."""


def find(name: str) -> Trainer:
    """What trains under the schedule of this name.

    Raises:
        UserError: There is no such schedule.
    """
    if name not in SCHEDULES:
        raise UserError(f"unknown schedule '{name}'; there are {', '.join(SCHEDULES)}")
    return SCHEDULES[name]
