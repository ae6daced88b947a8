"""The training loop."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress

from beyondprop.engine.attachment import Attachment
from beyondprop.experiment import checkpoint, metrics, schedules
from beyondprop.experiment.assess import point, trouble
from beyondprop.experiment.checkpoint import TrainingState
from beyondprop.experiment.faults import fault_of
from beyondprop.experiment.head import Head, find_head
from beyondprop.experiment.plan import RunPlan, as_json
from beyondprop.experiment.processes import on_first
from beyondprop.experiment.provenance import session
from beyondprop.experiment.storage import SPEC
from beyondprop.files import check_worked_in, write_json
from beyondprop.jobs.progress import bar
from beyondprop.tasks import Data, Task
from beyondprop.tasks.order import order

EVERY = 1.0
"""Seconds between two checks that the folder still exists: an epoch may take hours."""


@dataclass(frozen=True)
class Fit:
    """A trained model.

    Attributes:
        handle: The attached model.
        curve: One point for each epoch, from epoch 0.
        trouble: Why training stopped early, or None.
        earlier: The sessions that worked on it before this one; see `provenance.session`.
        head: For frozen hidden blocks, how the last layer was solved, or why it was not. Otherwise
            None.
    """

    handle: Attachment
    curve: list[dict[str, Any]]
    trouble: str | None
    earlier: list[dict[str, Any]]
    head: dict[str, Any] | str | None = None


def fit(plan: RunPlan, task: Task, data: Data, folder: Path, progress: Progress) -> Fit:
    """Train the task's model from the seed, or from the folder's checkpoint.

    The learning rate falls linearly to zero over the run, for every rule. With a constant rate, the
    last weights, which are the ones tested, would depend strongly on the last few batches. If the
    task augments, every training batch is augmented, but no data for scores. Every epoch ends with
    an evaluation on the validation split, the measures on one fixed batch and a checkpoint.
    Training stops early only if it diverges; see `assess.trouble`. With several processes, each one
    returns the complete model, and the first one evaluates and writes.

    If the rule does not train hidden blocks and the last layer can be solved, it is solved instead
    of trained. The curve then has two points, and a run that was killed solves the layer again.
    """
    checkpoint.seed_generators(plan.seed)  # first: every rule starts from the same weights
    steps = schedules.find(plan.schedule)(plan, task, data.train)
    handle, optimizer = steps.handle, steps.optimizer
    rates = [group["lr"] for group in optimizer.param_groups]
    state = TrainingState(handle.model, handle, optimizer, sessions=[session(datetime.now(UTC))])
    head = find_head(plan, task, data, handle)
    if isinstance(head, Head):
        return _solved(head, state, folder, progress)
    resumed = checkpoint.restore(folder, state)
    steps.begin(state, resumed)
    if not resumed:
        state.curve.append(on_first(partial(point, plan, task, data, handle, state, seconds=0.0)))
    on_first(partial(_begin_files, folder, plan, state))

    epoch = math.ceil(len(data.train) / plan.batch_size)
    total = epoch * plan.epochs
    looked = time.monotonic()
    with bar(progress, plan.name, total, state.step) as shown:
        while state.epoch < plan.epochs and not trouble(state):
            progress.update(shown, description=_describe(plan, state))
            handle.model.train()
            steps.begin_epoch()
            losses = []
            begun = time.perf_counter()
            batches = order(plan.seed, state.epoch + 1, len(data.train)).split(plan.batch_size)
            with fault_of("training", task):
                for number, rows in enumerate(batches, state.epoch * epoch):
                    for group, rate in zip(optimizer.param_groups, rates, strict=True):
                        group["lr"] = rate * (1 - number / total)
                    loss = steps.step(*data.train.batch(rows))
                    losses += [] if loss is None else [loss]
                    progress.advance(shown)
                    if time.monotonic() - looked > EVERY:
                        check_worked_in(folder)
                        looked = time.monotonic()
                steps.end_epoch()
            state.losses.append(steps.losses(losses))
            seconds = time.perf_counter() - begun  # the losses waited for an accelerator
            scored = partial(point, plan, task, data, handle, state, seconds)
            state.curve.append(on_first(scored))
            steps.save(state)
            on_first(partial(_save_files, folder, state))
    by_steps = None if head is None else f"trained by steps: {head}"
    return Fit(handle, state.curve, trouble(state), state.sessions[:-1], by_steps)


def _solved(head: Head, state: TrainingState, folder: Path, progress: Progress) -> Fit:
    """Solve the last layer to convergence instead of training."""
    plan, task, data, handle = head.plan, head.task, head.data, head.handle
    with bar(progress, f"{plan.name} · seed {plan.seed} · solving the last layer", 1, 0) as shown:
        state.curve.append(point(plan, task, data, handle, state, seconds=0.0))
        begun = time.perf_counter()
        solution = head.solve()
        state.losses.append(torch.tensor([solution.train_loss]))
        seconds = time.perf_counter() - begun
        state.curve.append(point(plan, task, data, handle, state, seconds))
        progress.advance(shown)
    _begin_files(folder, plan, state)
    found = solution.found | {"parameters": sum(p.numel() for p in head.layer.parameters())}
    return Fit(handle, state.curve, trouble(state), [], found)


def _describe(plan: RunPlan, state: TrainingState) -> str:
    """Return the text of the progress bar: the run and its validation score."""
    score = state.curve[-1]["validation_score"]
    return f"{plan.name} · seed {plan.seed} · epoch {state.epoch} · validation {score:.4f}"


def _begin_files(folder: Path, plan: RunPlan, state: TrainingState) -> None:
    write_json(folder / SPEC, as_json(plan))
    metrics.rewrite(folder, state)


def _save_files(folder: Path, state: TrainingState) -> None:
    checkpoint.save(folder, state)
    metrics.append(folder, state)
