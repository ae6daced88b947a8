"""The computation of a rule's step, relative to backprop."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from beyondprop._torch.operations import Operations
from beyondprop.engine.untouched import generators_kept
from beyondprop.errors import FAULTS
from beyondprop.experiment.cost import batch_of, step_of
from beyondprop.experiment.plan import ComparePlan
from beyondprop.experiment.setup import load, of_seed, torch_settings
from beyondprop.measure import Step
from beyondprop.tasks import Samples, Task


def step_costs(
    plan: ComparePlan, task: Task, train: Samples, names: Sequence[str]
) -> dict[str, float]:
    """Return the floating-point operations of a step by each rule, relative to backprop.

    PyTorch counts the matrix products, convolutions and attention on one batch, so the figure does
    not depend on the machine's load. A rule that cannot be counted is left out.
    """
    batch = batch_of(plan, train)
    with torch_settings(plan), generators_kept([train.device]):
        plain = operations(step_of(plan, task, batch, None))
        found = {name: operations(step_of(plan, task, batch, name)) for name in names}
    return {name: own / plain for name, own in found.items() if own and plain}


def training_operations(plan: ComparePlan, task: Task, names: Sequence[str]) -> dict[str, int]:
    """Return the floating-point operations of a run by each rule, counted as in `step_costs`.

    Raises:
        UserError: The data cannot be loaded.
    """
    train = of_seed(task, load(task, plan), plan.seeds[0]).train
    steps = plan.epochs * math.ceil(len(train) / plan.batch_size)
    batch = batch_of(plan, train)
    with torch_settings(plan), generators_kept([train.device]):
        found = {name: operations(step_of(plan, task, batch, name)) for name in names}
    return {name: own * steps for name, own in found.items() if own}


def operations(build: Callable[[], Step]) -> int:
    """Return the floating-point operations of a step; 0 if it fails or none are counted."""
    try:
        step, counter = build(), Operations()
        with counter:
            step()
    except FAULTS:  # any error of a rule or a model
        return 0
    return counter.total
