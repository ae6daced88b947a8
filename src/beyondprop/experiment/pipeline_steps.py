"""Training steps of a pipeline, whose blocks are on several processes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch.distributed as dist
from torch import Tensor

from beyondprop import rules
from beyondprop.errors import UserError
from beyondprop.experiment import checkpoint
from beyondprop.experiment.checkpoint import TrainingState
from beyondprop.experiment.faults import fault_of, fault_of_rule
from beyondprop.experiment.plan import RunPlan
from beyondprop.experiment.processes import of_each
from beyondprop.experiment.setup import augmented, build, check_fits, optimizer_of
from beyondprop.experiment.steps import Steps
from beyondprop.schedules import Pipeline
from beyondprop.schedules.messages import share
from beyondprop.tasks import Samples, Task

CHUNKS = 4


class PipelineSteps(Steps):
    """Steps of a pipeline, with one stage on each process.

    After every epoch, all processes get the complete model. The first one evaluates it and writes
    the checkpoint, from which all processes resume the run. Their number may change.

    Args:
        plan: The run's plan.
        task: The task.
        train: The task's training data.

    Raises:
        UserError: The task, the model or the rule cannot be trained by a pipeline.
    """

    def __init__(self, plan: RunPlan, task: Task, train: Samples) -> None:
        if plan.adversarial is not None:
            raise UserError(
                "adversarial training needs the complete model in one process, but a pipeline has "
                "a part of it on each: leave schedule= or adversarial= out"
            )
        if task.contrast is not None:
            raise UserError(
                f"a pipeline trains by inputs alone, and task {task.name} contrasts them with "
                "others: leave schedule= out"
            )
        if task.output is not None or task.axes is not None:
            raise UserError(
                f"a pipeline takes the error at the model's own output, and task {task.name} names "
                "another one or axes: leave schedule= out"
            )
        if not all(isinstance(each, Tensor) for each in train.batch(slice(1))):
            raise UserError(
                "a pipeline sends one tensor of inputs from process to process, and a batch of "
                f"task {task.name} holds several: leave schedule= out"
            )
        model = build(task, plan)
        check_fits(task, model, train, plan.batch_size)
        rule = rules.make(plan.rule, plan.feedback_seed)
        with fault_of_rule(rule):
            self._pipeline = Pipeline(
                model,
                rule,
                optimizer=partial(optimizer_of, task, plan),
                loss=fault_of("loss", task)(task.loss),
                chunks=CHUNKS,
                blocks=plan.blocks,
            )
        self._task, self._seed = task, plan.seed
        self.handle, self.optimizer = self._pipeline.handle, self._pipeline.optimizer

    def step(self, inputs: Any, targets: Any) -> Tensor | None:
        """Train on a batch; return its loss on the last process."""
        inputs = inputs if self._pipeline.rank else augmented(self._task, inputs)
        return self._pipeline.step(inputs, targets)

    def begin(self, state: TrainingState, resumed: bool) -> None:
        """Restore the state of this rank if the number of processes is the same as before."""
        generators = state.stages["generators"] if resumed else []
        if len(generators) == dist.get_world_size():
            self._pipeline.sizes = state.stages["sizes"]
            checkpoint.set_generators(generators[self._pipeline.rank])
        elif self._pipeline.rank:
            # Dropout on two stages must not draw the same masks. The first stage continues to draw
            # like a single process, so that its augmentation is the same.
            own = self._seed + self._pipeline.rank * 2**40 + state.epoch * 2**50
            checkpoint.seed_generators(own % 2**63)

    def end_epoch(self) -> None:
        """Copy the complete model to every process."""
        self._pipeline.gather()

    def losses(self, known: Sequence[Tensor]) -> Tensor:
        """Return an epoch's losses, which the last process sends to the others."""
        found: Tensor = share(super().losses(known) if known else None, dist.get_world_size() - 1)
        return found

    def save(self, state: TrainingState) -> None:
        """Add how many blocks each process has, and its generators."""
        generators = of_each(checkpoint.generators())
        state.stages = {"sizes": self._pipeline.sizes, "generators": generators}
