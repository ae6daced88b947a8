"""The training loop of a run whose blocks live on several processes."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist
from rich.progress import Progress

from beyondprop import rules
from beyondprop.errors import UserError
from beyondprop.experiment import checkpoint, metrics
from beyondprop.experiment.assess import order, point, trouble
from beyondprop.experiment.checkpoint import State
from beyondprop.experiment.faults import fault_of
from beyondprop.experiment.fit import Fit, describe
from beyondprop.experiment.plan import RunPlan, as_json
from beyondprop.experiment.processes import of_each, on_first
from beyondprop.experiment.progress import bar
from beyondprop.experiment.provenance import session
from beyondprop.experiment.setup import augmented, build, check_fits
from beyondprop.experiment.storage import SPEC
from beyondprop.files import (
    write_json,
)
from beyondprop.schedules import Pipeline
from beyondprop.schedules.messages import share
from beyondprop.tasks import Data, Task

CHUNKS = 4


def fit_pipeline(plan: RunPlan, task: Task, data: Data, folder: Path, progress: Progress) -> Fit:
    """Trains as `fit` does, a stage on each process; every process returns the whole model.

    After every epoch all processes get the whole model. The first one evaluates it and writes the
    checkpoint, from which all go on when the run is resumed, also if they are more or fewer.
    """
    checkpoint.seed_generators(plan.seed)
    pipeline = built(plan, task, data)
    model, optimizer = pipeline.handle.model, pipeline.optimizer
    rates = [group["lr"] for group in optimizer.param_groups]
    state = State(model, pipeline.handle, optimizer, sessions=[session(datetime.now(UTC))])
    if checkpoint.restore(folder, state):
        _take_up(pipeline, plan, state)
    else:
        _seed(pipeline, plan, state)
        state.curve.append(on_first(partial(point, plan, task, data, pipeline.handle, state, 0.0)))
    on_first(partial(_begin, folder, plan, state))

    steps = math.ceil(len(data.train) / plan.batch_size)
    total = steps * plan.epochs
    with bar(progress, plan.name, total, state.step) as shown:
        while state.epoch < plan.epochs and not trouble(state):
            progress.update(shown, description=describe(plan, state))
            model.train()
            losses = []
            begun = time.perf_counter()
            batches = order(plan.seed, state.epoch + 1, len(data.train)).split(plan.batch_size)
            with fault_of("training", task):
                for number, rows in enumerate(batches, state.epoch * steps):
                    for group, rate in zip(optimizer.param_groups, rates, strict=True):
                        group["lr"] = rate * (1 - number / total)
                    inputs = data.train.inputs[rows]
                    inputs = inputs if pipeline.rank else augmented(task, inputs)
                    loss = pipeline.step(inputs, data.train.targets[rows])
                    losses += [] if loss is None else [loss]
                    progress.advance(shown)
                pipeline.gather()
            last = dist.get_world_size() - 1
            state.losses.append(share(torch.stack(losses).cpu() if losses else None, last))
            seconds = time.perf_counter() - begun
            scored = partial(point, plan, task, data, pipeline.handle, state, seconds)
            state.curve.append(on_first(scored))
            state.stages = {"sizes": pipeline.sizes, "generators": of_each(checkpoint.generators())}
            on_first(partial(_keep, folder, state))
    return Fit(pipeline.handle, state.curve, trouble(state), state.sessions[:-1])


def built(plan: RunPlan, task: Task, data: Data) -> Pipeline:
    """The pipeline of a fresh model.

    Raises:
        UserError: The task, the model or the rule cannot be trained so.
    """
    if task.contrast is not None:
        raise UserError(
            f"a pipeline trains by inputs alone, and task {task.name} contrasts them with others: "
            "leave --schedule out"
        )
    model = build(task, plan)
    check_fits(task, model, data.train, plan.batch_size)
    with fault_of("optimizer", task):
        return Pipeline(
            model,
            rules.make(plan.rule, plan.feedback_seed),
            optimizer=lambda parameters: task.optimizer(parameters, plan.learning_rate),
            loss=fault_of("loss", task)(task.loss),
            chunks=CHUNKS,
            blocks=plan.blocks,
        )


def _take_up(pipeline: Pipeline, plan: RunPlan, state: State) -> None:
    """Has this process go on as the one did that had its place, if there were as many."""
    sizes, generators = state.stages["sizes"], state.stages["generators"]
    if len(generators) == dist.get_world_size():
        pipeline.sizes = sizes
        checkpoint.set_generators(generators[pipeline.rank])
    else:
        _seed(pipeline, plan, state)


def _seed(pipeline: Pipeline, plan: RunPlan, state: State) -> None:
    """Has every stage but the first draw numbers of its own.

    Dropout on two stages must not draw the same masks; the first one augments as one process does.
    """
    if pipeline.rank:
        own = plan.seed + pipeline.rank * 2**40 + state.epoch * 2**50
        checkpoint.seed_generators(own % 2**63)


def _begin(folder: Path, plan: RunPlan, state: State) -> None:
    write_json(folder / SPEC, as_json(plan))
    metrics.rewrite(folder, state)


def _keep(folder: Path, state: State) -> None:
    checkpoint.save(folder, state)
    metrics.append(folder, state)
