"""A trained network split into neighbourhoods: its students, and assemblies within budgets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.progress import Progress
from torch import nn

from beyondprop.errors import UserError
from beyondprop.experiment.distil_attempts import Whole
from beyondprop.experiment.distil_costs import computation
from beyondprop.experiment.distil_data import Inputs
from beyondprop.experiment.distil_limits import Limited, limited
from beyondprop.experiment.distil_setting import Setting, blocks_of, setting_of
from beyondprop.experiment.distil_spec import DistilSpec
from beyondprop.experiment.distil_ways import WAYS, Way
from beyondprop.experiment.record import describe_task
from beyondprop.jobs import Workers
from beyondprop.neighbourhoods import (
    TEACHER,
    Assembly,
    Cache,
    Candidate,
    Library,
    Neighbourhood,
    Recipe,
    distil,
    make,
    replaced_alone,
    split,
)
from beyondprop.neighbourhoods.cost import forward_operations
from beyondprop.registry import label
from beyondprop.tasks import Task

MERGED = "merged"


@dataclass(frozen=True)
class Apart:
    """A network split into neighbourhoods.

    Attributes:
        setting: The seed's setting.
        folder: The seed's folder.
        library: The trained students.
        alone: Increase of the complete network's validation loss with each student alone in place.
        limited: The options for each neighbourhood.
    """

    setting: Setting
    folder: Path
    library: Library
    alone: Mapping[str, Mapping[str, float]]
    limited: Limited

    @property
    def whole(self) -> int:
        """Operations of the teacher for one sample."""
        return forward_operations(self.setting.teacher, self.setting.sample)

    def merged(self, choice: Mapping[str, str]) -> nn.Module:
        """Return an assembly with its students' weights."""
        return self.library.merge(self.setting.teacher, choice)


def taken_apart(
    spec: DistilSpec, seed: int, folder: Path, progress: Progress, workers: Workers
) -> Apart:
    """Split the teacher of a seed and train its students."""
    setting = setting_of(spec, seed, folder)
    library = library_of(setting, folder, progress, workers)
    alone = replaced_alone(setting.teacher, library, setting.validation_loss)
    return Apart(setting, folder, library, alone, limited(setting, library, alone, folder))


def record_of(apart: Apart) -> dict[str, Any]:
    """Return a seed's part of the record before complete models are trained."""
    setting, library = apart.setting, apart.library
    found = {budget: within(apart, budget) for budget in setting.spec.budgets}
    known = [each for of in found.values() if not isinstance(of, str) for each in of]
    return {
        "seed": setting.seed,
        "task": describe_task(setting.task, setting.data),
        "teacher": setting.evaluated(setting.teacher) | {"operations": apart.whole},
        "pieces": {name: dict(of[TEACHER].costs) for name, of in apart.limited.options.items()},
        "students": {
            name: {
                each: dict(one.record) | {"alone": apart.alone[name][each]}
                for each, one in of.items()
            }
            for name, of in library.students.items()
        },
        "assemblies": [
            {"budget": budget, "failed": of}
            if isinstance(of, str)
            else {"budget": budget} | assembled(apart, of[0])
            for budget, of in found.items()
        ],
        "ranking": ranking(apart, known),
    }


def within(apart: Apart, budget: float) -> list[Assembly] | str:
    """Return the best assemblies within a budget, or the reason why there is none."""
    try:
        return apart.limited.within(budget, apart.setting.spec.ranked)
    except UserError as error:
        return str(error)


def assembled(apart: Apart, best: Assembly) -> dict[str, Any]:
    """Return an assembly's cost, and its scores before healing."""
    setting, model = apart.setting, apart.merged(best.choice)
    return {
        "choice": dict(best.choice),
        "predicted": best.score,
        "kept": forward_operations(model, setting.sample) / apart.whole,
        "computation": computation(setting, apart.library, model),
        "ways": {MERGED: setting.evaluated(model)},
    }


def ranking(apart: Apart, known: Iterable[Assembly]) -> list[dict[str, Any]]:
    """Return the predicted scores of assemblies, and their measured scores before healing.

    The measured scores have no effect on the choice, which the search made before.
    """
    each_once = {tuple(sorted(each.choice.items())): each for each in known}
    return [
        {"choice": dict(each.choice), "predicted": each.score}
        | apart.setting.evaluated(apart.merged(each.choice))
        for each in each_once.values()
    ]


def wholes(apart: Apart, record: Mapping[str, Any]) -> list[Whole]:
    """Return the complete models to train for a seed, one for each budget and method.

    Args:
        apart: The seed's network, split into neighbourhoods.
        record: Result of `record_of`.
    """
    setting = apart.setting
    return [
        Whole(
            setting.spec,
            setting.seed,
            apart.folder,
            apart.library,
            each["choice"],
            each["budget"],
            way,
            sum(each["computation"][part] for part in way.charge),
        )
        for each in record["assemblies"]
        if "failed" not in each
        for way in ways_of(setting.spec)
    ]


def ways_of(spec: DistilSpec) -> tuple[Way, ...]:
    """Return the methods that train complete models; with drawn inputs, those without labels."""
    return tuple(way for way in WAYS if spec.inputs is None or not way.labelled)


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
    """Return the recipe for the training of students."""
    return Recipe(
        epochs=spec.epochs,
        batch_size=spec.batch_size or task.batch_size,
        learning_rate=spec.learning_rate,
        seed=seed,
        threads=spec.threads,
    )


def neighbourhoods(spec: DistilSpec, task: Task, model: nn.Module) -> tuple[Neighbourhood, ...]:
    """Return the neighbourhoods that the spec names, by default the task's blocks except the last.

    Raises:
        UserError: The spec names no neighbourhoods, and the task names no blocks.
    """
    if spec.blocks is not None:
        return split(model, spec.blocks)
    own = blocks_of(task)
    if own is None:
        raise UserError(f"the task {task.name} names no blocks: give blocks=")
    return split(model, own)[:-1]
