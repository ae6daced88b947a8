"""Training steps: the part of the training loop in `fit` that differs between schedules."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from beyondprop import rules
from beyondprop.engine.attachment import Attachment
from beyondprop.experiment.adversarial import Adversary
from beyondprop.experiment.checkpoint import TrainingState
from beyondprop.experiment.faults import fault_of, fault_of_rule
from beyondprop.experiment.plan import RunPlan
from beyondprop.experiment.setup import (
    augmented,
    build,
    check_fits,
    check_samples,
    contrasted,
    optimizer_of,
)
from beyondprop.schedules import Schedule
from beyondprop.slots import driven
from beyondprop.tasks import Samples, Task, attached, call, taught
from beyondprop.tasks.order import drawn


class Steps(ABC):
    """How a run's blocks learn from its batches.

    Attributes:
        handle: The model's attachment.
        optimizer: Optimizer of all trained parameters; the loop sets its learning rates before each
            step.
    """

    handle: Attachment
    optimizer: Optimizer

    @abstractmethod
    def step(self, inputs: Any, targets: Any) -> Tensor | None:
        """Train on a batch of the data set; return its loss if this process knows it."""

    def begin(self, state: TrainingState, resumed: bool) -> None:  # noqa: B027  most have nothing to do
        """Prepare for the first step of a new run, or of one restored from a checkpoint."""

    def begin_epoch(self) -> None:  # noqa: B027
        """Prepare for an epoch's first step."""

    def end_epoch(self) -> None:  # noqa: B027
        """Prepare the complete model for evaluation and saving."""

    def losses(self, known: Sequence[Tensor]) -> Tensor:
        """Return an epoch's losses, one for each step, from those known in this process."""
        return torch.stack(list(known)).cpu()

    def save(self, state: TrainingState) -> None:  # noqa: B027
        """Add the state of this process and others that the checkpoint must contain."""


class LocalSteps(Steps):
    """Steps of a run in this process.

    A schedule decides when the blocks learn, in training only and not during measures.

    Args:
        plan: The run's plan.
        task: The task.
        train: The task's training data.
        schedule: Makes the schedule from the optimizer. Default: all blocks learn together, after
            the forward pass.
    """

    def __init__(
        self,
        plan: RunPlan,
        task: Task,
        train: Samples,
        schedule: Callable[[Optimizer], Schedule] | None = None,
    ) -> None:
        model = build(task, plan)
        check_fits(task, model, train, plan.batch_size)
        rule = rules.make(plan.rule, plan.feedback_seed)
        with fault_of_rule(rule):
            self.handle = attached(task, model, rule, plan.blocks)
        check_samples(self.handle, train, plan.batch_size)
        learned = [*model.parameters(), *self.handle.parameters()]
        self.optimizer = optimizer_of(task, plan, learned)
        driven(self.optimizer, model)
        self._schedule = None if schedule is None else schedule(self.optimizer)
        if self._schedule is not None:
            self._schedule.check(self.handle.blocks)
        self._task, self._loss = task, fault_of("loss", task)(task.loss)
        self._adversary = None
        if plan.adversarial is not None:
            batch = drawn(len(train), min(plan.batch_size, len(train)))
            self._adversary = Adversary(plan.adversarial, task, model, train, batch)

    def step(self, inputs: Any, targets: Any) -> Tensor:
        """Train on a batch; return its loss."""
        inputs, targets = contrasted(self._task, augmented(self._task, inputs), targets)
        if self._adversary is not None:
            inputs = self._adversary.inputs(inputs, targets)
        self.optimizer.zero_grad()
        with taught(self.handle, targets):
            loss = self._loss(call(self.handle.model, inputs), targets)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def begin_epoch(self) -> None:
        """Activate the schedule."""
        self.handle.follow(self._schedule)

    def end_epoch(self) -> None:
        """Deactivate the schedule while the model is measured."""
        self.handle.follow(None)
