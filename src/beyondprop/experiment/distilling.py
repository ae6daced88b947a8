"""Distillation piece by piece on a task, beside what the same computation does otherwise.

For each seed a teacher is trained, its neighbourhoods' students are, and for each budget the best
assembly is put together and healed. The same network is also trained as a whole, at equal total
computation: by the teacher's outputs (end to end), by the labels from the students' first weights,
which are parts of the teacher's (pruned), and by the labels from random weights (scratch).

Computation is counted in floating-point operations: one pass of the teacher over the data for
capture, the training of the library, and healing. The teacher's own training is left out. A
library serves all budgets: it is charged whole to one, and shared among all.

Where inputs are drawn, the library's training holds what the teacher's pieces make of them, and
what needs labels (healed, pruned, scratch) is left out.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from rich.progress import Progress
from torch import nn

from beyondprop import tasks
from beyondprop._torch.threads import threads_set
from beyondprop.engine.untouched import generators_kept
from beyondprop.errors import UserError
from beyondprop.experiment import sessions
from beyondprop.experiment.distil_attempts import Whole, trained
from beyondprop.experiment.distil_data import Inputs, drawn_inputs, few
from beyondprop.experiment.distil_spec import DistilSpec
from beyondprop.experiment.distil_ways import (
    CAPTURE,
    HEALING,
    SHARED,
    TEACHER_FOLDER,
    WAYS,
    WHOLE,
    Setting,
    Way,
    blocks_of,
    setting_of,
)
from beyondprop.experiment.provenance import provenance, session
from beyondprop.experiment.recipe import RECIPE, recipe
from beyondprop.experiment.record import describe_task
from beyondprop.experiment.run import train
from beyondprop.experiment.spec import RunSpec
from beyondprop.experiment.storage import SPEC, check_claim, read_spec
from beyondprop.files import finite, read_json, write_bytes, write_json
from beyondprop.jobs import SERIAL, Executor, Job, Workers, places, values
from beyondprop.jobs.lock import held
from beyondprop.jobs.progress import bars
from beyondprop.neighbourhoods import (
    DRAWS,
    TEACHER,
    Assembly,
    Cache,
    Candidate,
    Library,
    Neighbourhood,
    Options,
    Plan,
    Recipe,
    distil,
    make,
    options_of,
    plan,
    replaced_alone,
    search,
    split,
)
from beyondprop.neighbourhoods.cost import forward_operations, step_operations
from beyondprop.registry import label
from beyondprop.tasks import Task

DISTILLATION = "distillation.json"
GROWS = ("seeds",)
SCHEMA = 1
MERGED = "merged"
WITHOUT = "it needs labels, and drawn inputs have none"


def distil_task(
    spec: DistilSpec,
    output: Path,
    resume: bool = False,
    progress: Progress | None = None,
    workers: Workers = SERIAL,
) -> dict[str, Any]:
    """Distil a task's network piece by piece from every seed, and compare at equal computation.

    Args:
        spec: What to distil.
        output: The folder.
        resume: Continue what the folder holds: what is finished is not done again, and seeds may be
            added.
        progress: Bars to draw on; by default own ones, on the terminal.
        workers: Who trains.

    Returns:
        The content of `distillation.json`: for each seed the task's facts, its teacher, what the
        teacher's pieces cost, its students, and a list of `assemblies`, one a budget, with what
        each way reaches, at what computation.

    Raises:
        UserError: The task, its blocks or its data can't be used, or the folder holds something
            else.
    """
    started, task = datetime.now(UTC), tasks.find(spec.task)
    spec = grown(spec, output) if resume else spec
    candidates_of(spec)
    if spec.inputs is not None:
        DRAWS.make(spec.inputs)
    with generators_kept():
        neighbourhoods(spec, task, task.model())
    given = finite(plain(spec))
    check_claim(output, given, resume, GROWS)
    known = read_json(output / DISTILLATION)
    if known is not None and known["spec"] == given:
        return known
    with held(output), threads_set(spec.threads), generators_kept():
        write_json(output / SPEC, given)
        write_bytes(output / RECIPE, recipe(given, "distil").encode())
        before = sessions.begin(output, session(started))
        seeds = of_seeds(spec, output, progress or bars(), workers)
        record: dict[str, Any] = finite(
            {
                "schema": SCHEMA,
                "kind": "distillation",
                "spec": given,
                "seeds": seeds,
                "provenance": provenance(started, before),
            }
        )
        write_json(output / DISTILLATION, record)
    return record


def grown(spec: DistilSpec, folder: Path) -> DistilSpec:
    """Return the spec with the seeds that the folder has before its own."""
    earlier = (read_spec(folder) or {}).get("seeds")
    if not isinstance(earlier, list):
        return spec  # not a distillation's folder: whoever claims it says so
    return replace(spec, seeds=tuple(dict.fromkeys((*earlier, *spec.seeds))))


def plain(spec: DistilSpec) -> dict[str, Any]:
    """Return a spec as JSON; of a data folder only whether there was one."""
    return asdict(spec) | {"data": None if spec.data is None else "given"}


def of_seeds(
    spec: DistilSpec, output: Path, progress: Progress, workers: Workers
) -> list[dict[str, Any]]:
    """Return all that each seed gives.

    Teachers are trained first, then the students of each, then all whole models: whatever is
    independent is trained at the same time where there are workers.
    """
    few(spec, tasks.find(spec.task).load(spec.data), spec.seeds[0])  # before hours of teachers
    folders = {seed: output / f"seed-{seed}" for seed in spec.seeds}
    with Executor(output, progress, places.find(workers, spec.threads)) as executor, progress:
        jobs = [
            Job(f"teacher, seed {seed}", partial(taught, spec, seed, folder))
            for seed, folder in folders.items()
        ]
        values(executor.perform("teachers", jobs))
        executor.close()  # students have workers of their own
        made = [taken_apart(spec, *each, progress, workers) for each in folders.items()]
        wholes = [whole for _, of in made for whole in of]
        reached = iter(trained(wholes, executor))
    for record, _ in made:
        for assembly in record["assemblies"]:
            if "failed" not in assembly:
                assembly["ways"] |= {
                    name: next(reached) if found is None else found
                    for name, found in assembly["ways"].items()
                }
    return [record for record, _ in made]


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


def taken_apart(
    spec: DistilSpec, seed: int, folder: Path, progress: Progress, workers: Workers
) -> tuple[dict[str, Any], list[Whole]]:
    """Return what a seed's students and their assemblies give, and the whole models to train."""
    setting = setting_of(spec, seed, folder)
    teacher = setting.teacher
    library = library_of(setting, folder, progress, workers)
    scores = replaced_alone(teacher, library, setting.validation_loss)
    options = options_of(teacher, library, scores)
    whole = forward_operations(teacher, setting.sample)
    fixed = whole - sum(of[TEACHER].costs["operations"] for of in options.values())
    assemblies, wholes = [], []
    for budget in spec.budgets:
        found = within(options, budget * whole - fixed)
        if isinstance(found, str):
            assemblies.append({"budget": budget, "failed": found})
            continue
        made = assembled(setting, library, found)
        assemblies.append({"budget": budget} | made)
        wholes += [
            Whole(
                spec,
                seed,
                folder,
                library,
                found.choice,
                budget,
                way,
                sum(made["computation"][each] for each in way.charge),
            )
            for way in ways_of(setting)
        ]
    record = {
        "seed": seed,
        "task": describe_task(setting.task, setting.data),
        "teacher": setting.evaluated(teacher) | {"operations": whole},
        "pieces": {name: dict(of[TEACHER].costs) for name, of in options.items()},
        "students": {
            name: {
                each: dict(one.record) | {"alone": scores[name][each]} for each, one in of.items()
            }
            for name, of in library.students.items()
        },
        "assemblies": assemblies,
    }
    return record, wholes


def library_of(setting: Setting, folder: Path, progress: Progress, workers: Workers) -> Library:
    """Return the students of all neighbourhoods."""
    spec, data = setting.spec, setting.data
    return distil(
        setting.teacher,
        neighbourhoods(spec, setting.task, setting.teacher),
        Inputs(data.train, setting.batch_size),
        folder,
        candidates_of(spec),
        recipe=recipe_of(spec, setting.task, setting.seed),
        validation=Inputs(data.validation, setting.batch_size),
        cache=Cache(gib=spec.cache_gib),
        workers=workers,
        progress=progress,
        synthetic=setting.drawn,
    )


def candidates_of(spec: DistilSpec) -> dict[str, Candidate]:
    """Return the candidates by their labels."""
    return {label(each): make(each) for each in spec.candidates}


def recipe_of(spec: DistilSpec, task: Task, seed: int) -> Recipe:
    """Return how students are trained."""
    return Recipe(
        epochs=spec.epochs,
        batch_size=spec.batch_size or task.batch_size,
        learning_rate=spec.learning_rate,
        seed=seed,
        threads=spec.threads,
    )


def plan_task(spec: DistilSpec) -> Plan:
    """Return what the students of one seed would take; the teacher is not trained for it.

    Raises:
        UserError: The task, its blocks or its data can't be used.
    """
    task = tasks.find(spec.task)
    with threads_set(spec.threads), generators_kept():
        model, data = task.model().eval(), task.load(spec.data)
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


def neighbourhoods(spec: DistilSpec, task: Task, model: nn.Module) -> tuple[Neighbourhood, ...]:
    """Return the neighbourhoods that are named, or the task's blocks but the last.

    Raises:
        UserError: None is named, and the task has no blocks.
    """
    if spec.blocks is not None:
        return split(model, spec.blocks)
    own = blocks_of(task)
    if own is None:
        raise UserError(f"the task {task.name} names no blocks: give --blocks")
    return split(model, own)[:-1]


def within(options: Options, operations: float) -> Assembly | str:
    """Return the best assembly within a budget of operations, or why there is none."""
    try:
        return search(options, {"operations": max(1.0, operations)})[0]
    except UserError as error:
        return str(error)


def ways_of(setting: Setting) -> tuple[Way, ...]:
    """Return how whole models are trained: where inputs are drawn, without labels."""
    return tuple(way for way in WAYS if setting.drawn is None or not way.labelled)


def assembled(setting: Setting, library: Library, best: Assembly) -> dict[str, Any]:
    """Return what an assembly costs, and what it reaches before it is healed."""
    merged = library.merge(setting.teacher, best.choice)
    whole = forward_operations(setting.teacher, setting.sample)
    return {
        "choice": dict(best.choice),
        "predicted": best.score,
        "kept": forward_operations(merged, setting.sample) / whole,
        "computation": computation(setting, library, merged),
        "ways": {MERGED: setting.evaluated(merged)}
        | {way.name: None if way in ways_of(setting) else {"absent": WITHOUT} for way in WAYS},
    }


def computation(setting: Setting, library: Library, merged: nn.Module) -> dict[str, float]:
    """Return the operations of capture, of healing, and of the library, whole and shared."""
    seen = len(setting.data.train)
    taught = seen if setting.drawn is None else min(seen, setting.drawn.known)
    captured = taught + len(setting.data.validation)
    trained_all = sum(
        one.record["training_operations"] for of in library.students.values() for one in of.values()
    )
    healed = setting.spec.heal_epochs * seen if setting.drawn is None else 0
    return {
        CAPTURE: float(captured * forward_operations(setting.teacher, setting.sample)),
        HEALING: float(healed * step_operations(merged, setting.sample)),
        WHOLE: float(trained_all),
        SHARED: trained_all / len(setting.spec.budgets),
    }
