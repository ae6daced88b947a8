"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress
from torch.optim import Optimizer

from beyondprop import rules
from beyondprop.engine.attach import attach
from beyondprop.engine.attachment import Attachment
from beyondprop.experiment import checkpoint, metrics
from beyondprop.experiment.assess import order, point, trouble
from beyondprop.experiment.checkpoint import State
from beyondprop.experiment.faults import fault_of
from beyondprop.experiment.plan import RunPlan, as_json
from beyondprop.experiment.progress import bar
from beyondprop.experiment.provenance import session
from beyondprop.experiment.setup import (
    augmented,
    build,
    check_fits,
    contrasted,
)
from beyondprop.experiment.storage import SPEC
from beyondprop.files import (
    write_json,
)
from beyondprop.schedules import Schedule
from beyondprop.slots import driven
from beyondprop.tasks import Data, Task


@dataclass(frozen=True)
class Fit:
    """A trained model.

    Attributes:
        handle: The attached model.
        curve: One point an epoch, from epoch 0.
        trouble: Why training was stopped early, or None.
        earlier: The sessions that worked on it before this one; see `provenance.session`.
    """

    handle: Attachment
    curve: list[dict[str, Any]]
    trouble: str | None
    earlier: list[dict[str, Any]]


def fit(
    plan: RunPlan,
    task: Task,
    data: Data,
    folder: Path,
    progress: Progress,
    schedule: Callable[[Optimizer], Schedule] | None = None,
) -> Fit:
    """Trains the task's model from the seed, or from where the folder's checkpoint stands.

    The learning rate falls linearly to zero over the run, for every rule: where it stays as it is,
    the last weights, which are the ones tested, depend much on the last few batches. Where the task
    augments, every training batch is augmented, and nothing that is scored. Every epoch ends with
    an evaluation on the validation split, the alignment on one fixed batch and a checkpoint.
    Training stops early only when a loss is no longer finite. A schedule, made of the optimizer,
    has the blocks learn when it says, in training alone and not where they are measured.
    """
    checkpoint.seed_generators(plan.seed)  # first: every rule starts from the same weights
    model = build(task, plan)
    check_fits(task, model, data.train, plan.batch_size)
    rule = rules.make(plan.rule, plan.feedback_seed)
    handle = attach(model, rule, blocks=plan.blocks)
    with fault_of("optimizer", task):
        optimizer = task.optimizer([*model.parameters(), *handle.parameters()], plan.learning_rate)
    driven(optimizer, model)
    rates = [group["lr"] for group in optimizer.param_groups]
    follows = None if schedule is None else schedule(optimizer)
    if follows is not None:
        follows.check(handle.blocks)
    loss_of = fault_of("loss", task)(task.loss)
    state = State(model, handle, optimizer, sessions=[session(datetime.now(UTC))])
    if not checkpoint.restore(folder, state):
        state.curve.append(point(plan, task, data, handle, state, seconds=0.0))
    write_json(folder / SPEC, as_json(plan))
    metrics.rewrite(folder, state)

    steps = math.ceil(len(data.train) / plan.batch_size)
    total = steps * plan.epochs
    with bar(progress, plan.name, total, state.step) as shown:
        while state.epoch < plan.epochs and not trouble(state):
            progress.update(shown, description=describe(plan, state))
            model.train()
            handle.follow(follows)
            losses = []
            begun = time.perf_counter()
            batches = order(plan.seed, state.epoch + 1, len(data.train)).split(plan.batch_size)
            with fault_of("training", task):
                for number, rows in enumerate(batches, state.epoch * steps):
                    for group, rate in zip(optimizer.param_groups, rates, strict=True):
                        group["lr"] = rate * (1 - number / total)
                    inputs = augmented(task, data.train.inputs[rows])
                    called, targets = contrasted(task, inputs, data.train.targets[rows])
                    optimizer.zero_grad()
                    with handle.targets(targets):
                        loss = loss_of(model(*called), targets)
                    loss.backward()
                    optimizer.step()
                    losses.append(loss.detach())
                    progress.advance(shown)
            handle.follow(None)
            state.losses.append(torch.stack(losses).cpu())
            seconds = time.perf_counter() - begun  # after .cpu(), which waits for an accelerator
            state.curve.append(point(plan, task, data, handle, state, seconds))
            checkpoint.save(folder, state)
            metrics.append(folder, state)
    return Fit(handle, state.curve, trouble(state), state.sessions[:-1])


def describe(plan: RunPlan, state: State) -> str:
    """The bar's text: what runs, and how it stands."""
    score = state.curve[-1]["validation_score"]
    return f"{plan.name} · seed {plan.seed} · epoch {state.epoch} · validation {score:.4f}"
