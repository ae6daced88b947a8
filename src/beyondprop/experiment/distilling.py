"""Distillation piece by piece on a task, compared with other uses of the same computation.

For each seed, a teacher and the students of its neighbourhoods are trained. For each budget, the
best assembly of students is merged and healed. The same network is also trained as a whole, at
equal total computation: with the teacher's outputs (end to end), with the labels from the students'
initial weights, which are parts of the teacher's (pruned), and with the labels from random weights
(scratch).

Computation is counted in floating-point operations: one pass of the teacher over the data for
capture, the training of the library, and healing. The teacher's training is not included. A library
serves all budgets: it is charged in full to each budget, or shared among all.

With drawn inputs, the library's training includes the outputs of the teacher's pieces for these
inputs, and the methods that need labels (healed, pruned, scratch) are left out.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from rich.progress import Progress

from beyondprop import rules, tasks
from beyondprop._torch.threads import threads_set
from beyondprop.engine.untouched import generators_kept
from beyondprop.errors import UserError
from beyondprop.experiment.by_seed import Study, grown
from beyondprop.experiment.distil_apart import (
    candidates_of,
    neighbourhoods,
    recipe_of,
    record_of,
    taken_apart,
    ways_of,
    wholes,
)
from beyondprop.experiment.distil_data import Inputs, drawn_inputs, few
from beyondprop.experiment.distil_setting import TEACHER_FOLDER
from beyondprop.experiment.distil_spec import DistilSpec
from beyondprop.experiment.entry import entered
from beyondprop.experiment.rates import searched
from beyondprop.experiment.run import train
from beyondprop.experiment.setup import of_seed, read
from beyondprop.experiment.spec import RunSpec
from beyondprop.experiment.storage import occupied
from beyondprop.jobs import SERIAL, Executor, Job, Workers, places, values
from beyondprop.jobs.progress import bars
from beyondprop.neighbourhoods import DRAWS, Cache, Plan, plan
from beyondprop.tasks import Task

DISTILLATION = "distillation.json"
STUDY = Study("distillation", "distil", DISTILLATION)


def distil_task(
    spec: DistilSpec,
    output: Path,
    resume: bool = False,
    progress: Progress | None = None,
    workers: Workers = SERIAL,
) -> dict[str, Any]:
    """Distil a task's network piece by piece for every seed, and compare at equal computation.

    Args:
        spec: Settings of the distillation.
        output: Folder for the results.
        resume: Continue the distillation in the folder. Finished trainings are not repeated, and
            seeds can be added.
        progress: Progress bars to draw on. Default: new ones on the terminal.
        workers: Workers that train.

    Returns:
        The content of `distillation.json`: for each seed the task's facts, its teacher, the cost of
        the teacher's pieces, its students, and a list of `assemblies`, one for each budget, with
        the scores and the computation of each method.

    Raises:
        UserError: The task, its blocks or its data can't be used, or the folder contains something
            else.
    """
    spec, output, resume = entered(DistilSpec, spec, output, resume)
    with occupied(output):  # before anything in it is read: another process may add to it
        spec = grown(spec, output) if resume else spec
        check(spec, tasks.find(spec.task))
        make = partial(of_seeds, spec, output, progress or bars(), workers)
        return STUDY.made(spec, output, resume, make)


def check(spec: DistilSpec, task: Task) -> None:
    """Check everything that can be checked before training starts.

    Raises:
        UserError: A name is unknown, a number is invalid, or there are no such blocks.
    """
    candidates_of(spec)
    rules.make(spec.rule, spec.seeds[0])
    recipe_of(spec, task, spec.seeds[0])
    Cache(gib=spec.cache_gib)
    if spec.inputs is not None:
        DRAWS.make(spec.inputs)
    with generators_kept():
        neighbourhoods(spec, task, task.model())


def of_seeds(
    spec: DistilSpec, output: Path, progress: Progress, workers: Workers
) -> list[dict[str, Any]]:
    """Return each seed's part of the record.

    Teachers are trained first, then the students of each, then all complete models. Independent
    trainings run at the same time if there are several workers.
    """
    task = tasks.find(spec.task)
    few(spec, of_seed(task, read(task, spec.data), spec.seeds[0]), spec.seeds[0])  # before hours
    folders = {seed: output / f"seed-{seed}" for seed in spec.seeds}
    with Executor(output, progress, places.find(workers, spec.threads)) as executor, progress:
        jobs = [
            Job(f"teacher, seed {seed}", partial(taught, spec, seed, folder))
            for seed, folder in folders.items()
        ]
        values(executor.perform("teachers", jobs))
        executor.close()  # students are trained by separate workers
        made = [taken_apart(spec, *each, progress, workers) for each in folders.items()]
        records = [record_of(each) for each in made]
        asked = [wholes(*pair) for pair in zip(made, records, strict=True)]
        every = [whole for of in asked for whole in of]
        reached = iter(searched(every, spec.rates, "whole models", executor))
    for each in (one for record in records for one in record["assemblies"]):
        if "failed" not in each:
            each["ways"] |= {way.name: next(reached) for way in ways_of(spec)}
    return records


def taught(spec: DistilSpec, seed: int, folder: Path, progress: Progress) -> None:
    """Train the teacher of a seed.

    Raises:
        UserError: It diverged.
    """
    run = RunSpec(
        task=spec.task,
        rule="backprop",
        seed=seed,
        epochs=spec.teacher_epochs,
        data=spec.data,
        threads=spec.threads,
        measures=(),
    )
    record = train(run, folder / TEACHER_FOLDER, resume=True, progress=progress)
    if record["status"] != "finished":
        raise UserError(f"the teacher of seed {seed} {record['status']}: {record['reason']}")


def plan_task(spec: DistilSpec) -> Plan:
    """Return the expected cost of one seed's students, without training the teacher.

    Raises:
        UserError: The task, its blocks or its data can't be used.
    """
    task = tasks.find(spec.task)
    with threads_set(spec.threads), generators_kept():
        model, data = task.model().eval(), of_seed(task, read(task, spec.data), spec.seeds[0])
        seen = few(spec, data, spec.seeds[0])
        return plan(
            model,
            neighbourhoods(spec, task, model),
            Inputs(seen.train, spec.batch_size or task.batch_size),
            candidates_of(spec),
            recipe_of(spec, task, spec.seeds[0]),
            Cache(gib=spec.cache_gib),
            drawn_inputs(spec, data),
            validation=Inputs(seen.validation, spec.batch_size or task.batch_size),
        )
