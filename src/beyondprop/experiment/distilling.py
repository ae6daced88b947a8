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

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from rich.progress import Progress
from torch import nn

from beyondprop import tasks
from beyondprop._torch.threads import threads_set
from beyondprop._torch.weights import WEIGHTS, read_weights
from beyondprop.engine.untouched import generators_kept
from beyondprop.errors import UserError
from beyondprop.experiment.distil_data import Inputs, drawn_inputs, few
from beyondprop.experiment.distil_spec import DistilSpec
from beyondprop.experiment.distil_ways import Setting, blocks_of, by_labels, by_teacher, trained
from beyondprop.experiment.provenance import provenance
from beyondprop.experiment.recipe import RECIPE, recipe
from beyondprop.experiment.run import train
from beyondprop.experiment.spec import RunSpec
from beyondprop.experiment.storage import SPEC, check_claim
from beyondprop.files import finite, read_json, write_bytes, write_json
from beyondprop.jobs import Workers
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
WHOLE, SHARED = "whole", "shared"
"""How a library that serves several budgets is charged to one."""
LABELLED = "healed", "pruned", "scratch"
WITHOUT = "it needs labels, and drawn inputs have none"


def distil_task(
    spec: DistilSpec,
    output: Path,
    resume: bool = False,
    progress: Progress | None = None,
    workers: Workers | None = None,
) -> dict[str, Any]:
    """Distil a task's network piece by piece from every seed, and compare at equal computation.

    Args:
        spec: What to distil.
        output: The folder.
        resume: Continue what the folder holds: what is finished is not done again, and seeds may be
            added.
        progress: Bars to draw on; by default own ones, on the terminal.
        workers: Who trains students.

    Returns:
        The content of `distillation.json`: for each seed its teacher, its students, and a list of
        `assemblies`, one a budget, with what each way reaches, at what computation.

    Raises:
        UserError: The task, its blocks or its data can't be used, or the folder holds something
            else.
    """
    started, task = datetime.now(UTC), tasks.find(spec.task)
    candidates_of(spec)
    if spec.inputs is not None:
        DRAWS.make(spec.inputs)
    with generators_kept():
        neighbourhoods(spec, task, task.model())
    given = finite(plain(spec))
    check_claim(output, given, resume, GROWS)
    write_json(output / SPEC, given)
    write_bytes(output / RECIPE, recipe(given, "distil").encode())
    shown = progress or bars()
    with threads_set(spec.threads), generators_kept():
        seeds = [of_seed(spec, task, seed, output, shown, workers) for seed in spec.seeds]
    record: dict[str, Any] = finite(
        {
            "schema": SCHEMA,
            "kind": "distillation",
            "spec": plain(spec),
            "seeds": seeds,
            "provenance": provenance(started),
        }
    )
    write_json(output / DISTILLATION, record)
    return record


def plain(spec: DistilSpec) -> dict[str, Any]:
    """Return a spec as JSON; of a data folder only whether there was one."""
    return asdict(spec) | {"data": None if spec.data is None else "given"}


def of_seed(
    spec: DistilSpec,
    task: Task,
    seed: int,
    output: Path,
    progress: Progress,
    workers: Workers | None,
) -> dict[str, Any]:
    """Return all that one seed gives."""
    folder = output / f"seed-{seed}"
    run = RunSpec(
        task=spec.task,
        rule="backprop",
        seed=seed,
        epochs=spec.teacher_epochs,
        data=spec.data,
        threads=spec.threads,
        measures=(),
    )
    data = task.load(spec.data)
    data = task.split(data, seed) if task.split else data
    seen, drawing = few(spec, data, seed), drawn_inputs(spec, data)
    record = train(run, folder / "teacher", resume=True, progress=progress)
    if record["status"] != "finished":
        raise UserError(f"the teacher of seed {seed} {record['status']}: {record['reason']}")
    teacher = task.model()
    teacher.load_state_dict(read_weights(folder / "teacher" / WEIGHTS))
    setting = Setting(spec, task, seen, drawing, seed, teacher.eval(), progress)
    library = library_of(setting, folder, workers)
    scores = replaced_alone(teacher, library, setting.validation_loss)
    options = options_of(teacher, library, scores)
    whole = forward_operations(teacher, setting.sample)
    fixed = whole - sum(of[TEACHER].costs["operations"] for of in options.values())
    return {
        "seed": seed,
        "teacher": setting.evaluated(teacher) | {"operations": whole},
        "students": {
            name: {
                each: dict(one.record) | {"alone": scores[name][each]} for each, one in of.items()
            }
            for name, of in library.students.items()
        },
        "assemblies": [
            of_budget(setting, library, options, budget, budget * whole - fixed, folder)
            for budget in spec.budgets
        ],
    }


def library_of(setting: Setting, folder: Path, workers: Workers | None) -> Library:
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
        progress=setting.progress,
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


def of_budget(
    setting: Setting,
    library: Library,
    options: Options,
    budget: float,
    operations: float,
    folder: Path,
) -> dict[str, Any]:
    """Return what the best assembly within a budget reaches, or why there is none.

    Args:
        setting: Of the seed.
        library: Its students.
        options: Of each neighbourhood.
        budget: The share of the whole model's operations that is kept.
        operations: What that leaves to the neighbourhoods.
        folder: Of the seed.
    """
    try:
        (best,) = search(options, {"operations": max(1.0, operations)})
    except UserError as error:
        return {"budget": budget, "failed": str(error)}
    return assembled(setting, library, best, budget, folder)


def assembled(
    setting: Setting, library: Library, best: Assembly, budget: float, folder: Path
) -> dict[str, Any]:
    """Return what an assembly reaches merged, healed, and trained as a whole otherwise.

    It is kept in the seed's folder, and read from there when it is asked for again.
    """
    path = folder / "assemblies" / f"{budget:g}.json"
    asked = {"choice": dict(best.choice), "spec": plain(setting.spec) | {"seeds": None}}
    found = read_json(path)
    if found is not None and found["asked"] == finite(asked):
        return found
    merged = library.merge(setting.teacher, best.choice)
    kept = forward_operations(merged, setting.sample)
    costs = computation(setting, library, merged)
    ways: dict[str, Any] = {"merged": setting.evaluated(merged)}
    fresh = partial(library.merge, setting.teacher, best.choice)
    if setting.drawn is None:
        ways["healed"] = trained(setting, fresh, by_labels(setting), costs["healing"])
    for charge in (WHOLE, SHARED):
        total = costs["healing"] + costs["capture"] + costs[charge]
        ways[f"end to end, {charge}"] = trained(
            setting, partial(begun, setting, library, best), by_teacher(setting), total
        )
    if setting.drawn is None:
        total = costs["healing"] + costs["capture"] + costs[SHARED]
        ways["pruned"] = trained(
            setting, partial(begun, setting, library, best), by_labels(setting), total
        )
        ways["scratch"] = trained(setting, partial(drawn, fresh), by_labels(setting), total)
    else:
        ways |= {name: {"absent": WITHOUT} for name in LABELLED}
    record = {
        "asked": asked,
        "budget": budget,
        "choice": dict(best.choice),
        "predicted": best.score,
        "kept": kept / forward_operations(setting.teacher, setting.sample),
        "computation": costs,
        "ways": ways,
    }
    write_json(path, record)
    return record


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
        "capture": float(captured * forward_operations(setting.teacher, setting.sample)),
        "healing": float(healed * step_operations(merged, setting.sample)),
        WHOLE: float(trained_all),
        SHARED: trained_all / len(setting.spec.budgets),
    }


def begun(setting: Setting, library: Library, best: Assembly) -> nn.Module:
    """Return the assembly with the weights with which its students began."""
    teacher = setting.teacher
    model = library.merge(teacher, {})
    for each in library.neighbourhoods:
        if each.name in best.choice:
            student = library.students[each.name][best.choice[each.name]]
            piece = student.candidate.build(each.piece(teacher), library.samples[each.name])
            each.put(model, piece)
    return model


def drawn(fresh: Callable[[], nn.Module]) -> nn.Module:
    """Return the assembly with weights that are drawn anew by each layer's own way.

    Raises:
        UserError: A module has weights and no such way: they would stay the teacher's.
    """
    model = fresh()
    for name, module in model.named_modules():
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
        elif next(module.parameters(recurse=False), None) is not None:
            raise UserError(
                f"'{name}' ({type(module).__name__}) cannot be drawn anew for training from "
                "scratch: give it a method reset_parameters"
            )
    return model
