"""What a run looks at besides its loss: the order of the data, the curve's points, divergence."""

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
"""Of a split that a measure of the trained model sees at most."""

UNTRAINED = "before the first step"
"""In the reason of a run that had no chance: no learning rate would have helped."""
ABSURD = 1000.0
"""How many times the untrained model's validation loss, or 1 if that is less, no loss may reach."""


def point(
    plan: RunPlan,
    task: Task,
    data: Data,
    handle: Attachment,
    state: TrainingState,
    seconds: float,
) -> dict[str, Any]:
    """Return one point of the learning curve, of the model as it stands.

    The validation split is scored, and the measures that are cheap enough are taken. The test split
    is not looked at.

    Args:
        plan: The run's.
        task: Loss and metric.
        data: The task's.
        handle: The attached model.
        state: How far the run is.
        seconds: Time the training of the last epoch took.
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
    """Return what is measured after an epoch: the model on one batch of training data.

    It is the same batch every time, as many examples as a step has.
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
    """Return what is measured at the end of a run: the model on samples of two splits besides.

    Of training samples, not augmented, and of validation samples at most 5,000 of the seed's, the
    same for every rule; views are whole. The test split is not looked at.
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
    """Why training cannot go on (a figure that is not finite, an absurd loss), or None."""
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
