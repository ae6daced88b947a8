"""Evaluation during a run: points of the learning curve, subjects of measures, and divergence."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from torch import nn

from beyondprop.engine.attachment import Attachment
from beyondprop.engine.untouched import generators_kept
from beyondprop.experiment.checkpoint import TrainingState
from beyondprop.experiment.faults import fault_of
from beyondprop.experiment.measuring import at_point
from beyondprop.experiment.plan import RunPlan
from beyondprop.measure import Evaluation, Subject, evaluate
from beyondprop.tasks import Data, Samples, Task, Views
from beyondprop.tasks.order import order

EVALUATION_BATCH = 1000
SAMPLES = 5000
"""Maximum number of samples of a split for a measure of the trained model."""

UNTRAINED = "before the first step"
"""Part of the reason of a run that no learning rate could have helped."""
ABSURD = 1000.0
"""A run diverges if its validation loss exceeds this many times the untrained model's, or times 1
if that is smaller."""


def point(
    plan: RunPlan,
    task: Task,
    data: Data,
    handle: Attachment,
    state: TrainingState,
    seconds: float,
) -> dict[str, Any]:
    """Return one point of the learning curve, for the current model.

    It contains the scores on the validation split and the measures of each epoch. The test split is
    not used.

    Args:
        plan: The run's plan.
        task: The task, with its loss and metric.
        data: The task's data.
        handle: The attached model.
        state: State of the run.
        seconds: Training time of the last epoch.
    """
    found = score(task, handle.model, data.validation)
    return {
        "epoch": state.epoch,
        "step": state.step,
        "train_loss": state.losses[-1].mean().item() if state.losses else None,
        "validation_loss": found.loss,
        "validation_score": found.score,
        "seconds": seconds,
        "measures": at_point(batch_subject(plan, task, data, handle), state.epoch, plan.measures),
    }


def batch_subject(plan: RunPlan, task: Task, data: Data, handle: Attachment) -> Subject:
    """Return the subject of measures after an epoch: the model on one batch of training data.

    The batch is the same every time and has the size of a training batch.
    """
    rows = order(plan.seed, 0, len(data.train))[: plan.batch_size]
    with generators_kept([data.train.device]):  # a dataset may draw when it is read
        inputs, targets = data.train.batch(rows)
    return Subject(
        handle=handle,
        model=handle.model,
        inputs=inputs,
        targets=targets,
        loss=task.loss,
        metric=task.metric,
        device=plan.device,
    )


def run_subject(plan: RunPlan, task: Task, data: Data, handle: Attachment) -> Subject:
    """Return the subject of measures at the end of a run, which adds samples of two splits.

    These are at most 5,000 training samples, not augmented, and at most 5,000 validation samples,
    chosen by the seed and the same for every rule. Views are complete. The test split is not used.
    """

    def some(samples: Samples) -> Samples:
        return samples.some(order(plan.seed, 0, len(samples))[:SAMPLES])

    return replace(
        batch_subject(plan, task, data, handle),
        train=some(data.train),
        held_out=some(data.validation),
        classes=data.classes or None,
        views=data.validation if isinstance(data.validation, Views) else None,
    )


def score(task: Task, model: nn.Module, split: Samples) -> Evaluation:
    """Evaluate the model on a split by the task's loss and metric.

    Raises:
        UserError: The model, the loss or the metric fails.
    """
    loss, metric = fault_of("loss", task)(task.loss), fault_of("metric", task)(task.metric)
    with fault_of("model", task):
        return evaluate(model, split, loss, metric, EVALUATION_BATCH)


def trouble(state: TrainingState) -> str | None:
    """Return why training cannot continue (a non-finite figure, an absurd loss), or None."""
    if state.losses and not state.losses[-1].isfinite().all():
        first = int((~state.losses[-1].isfinite()).nonzero()[0])
        step = state.step - len(state.losses[-1]) + first + 1
        value = state.losses[-1][first].item()
        if step == 1:
            return f"the training loss was {value} {UNTRAINED}"
        return f"the training loss became {value} at step {step} (epoch {state.epoch})"
    for figure in ("loss", "score"):
        value = state.curve[-1][f"validation_{figure}"]
        if not math.isfinite(value) and state.epoch == 0:
            return f"the validation {figure} was {value} {UNTRAINED}"
        if not math.isfinite(value):
            return f"the validation {figure} became {value} after epoch {state.epoch}"
    began, ended = (abs(state.curve[i]["validation_loss"]) for i in (0, -1))
    if ended > ABSURD * max(1.0, began):
        return f"the validation loss grew from {began:.4g} to {ended:.4g} by epoch {state.epoch}"
    return None
