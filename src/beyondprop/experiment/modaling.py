"""Pre-training of single modalities and joint training, compared with other methods.

For each seed, every modality's sub-network is trained alone. Then each method trains the complete
network with the same computation: that of pre-training and the joint training after it, in
floating-point operations. The comparison includes two results that need no further training: the
best single modality, chosen by its validation score, and late fusion, the mean of all modalities.

No method is charged for the search of its learning rate or for validation. The record contains the
cost of the search.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress

from beyondprop import rules
from beyondprop._torch.threads import threads_set
from beyondprop.engine.untouched import generators_kept
from beyondprop.errors import UserError
from beyondprop.experiment.by_seed import Study, grown
from beyondprop.experiment.entry import entered
from beyondprop.experiment.modal_alone import Alone, kept, modalities_of
from beyondprop.experiment.modal_attempts import Budget, ByMethod
from beyondprop.experiment.modal_course import reached
from beyondprop.experiment.modal_measures import LateFusion, measured
from beyondprop.experiment.modal_methods import (
    METHODS,
    OURS,
    Ground,
    step_operations,
    warm_operations,
)
from beyondprop.experiment.modal_setting import ModalSetting, digests, modal_setting, modal_settings
from beyondprop.experiment.modal_spec import ModalitiesSpec
from beyondprop.experiment.rates import SEARCHED, quality, searched
from beyondprop.experiment.record import describe_task
from beyondprop.experiment.storage import occupied
from beyondprop.jobs import SERIAL, Executor, Workers, places
from beyondprop.jobs.progress import bars
from beyondprop.modalities import FUSIONS, Concatenation
from beyondprop.modalities.balance import Joint

MODALITIES = "modalities.json"
STUDY = Study("modalities", "modalities", MODALITIES)
KEPT = (
    *("validation_score", "validation_loss", "score", "loss"),
    *("operations", "seconds", "course"),
)
"""Fields that the best single modality's result contains."""

LATE, SINGLE = "late fusion", "best single modality"


@dataclass(frozen=True)
class OfSeed:
    """What is trained for one seed.

    Attributes:
        setting: The seed's setting.
        folder: The seed's folder.
        alone: Result of each modality's training alone, by name.
        budget: Computation budget of every method.
    """

    setting: ModalSetting
    folder: Path
    alone: Mapping[str, Mapping[str, Any]]
    budget: Budget


def modalities_task(
    spec: ModalitiesSpec,
    output: Path,
    resume: bool = False,
    progress: Progress | None = None,
    workers: Workers = SERIAL,
) -> dict[str, Any]:
    """Train a task's modalities alone and together, by every method at equal computation.

    Args:
        spec: Settings of the comparison.
        output: Folder for the results.
        resume: Continue the comparison in the folder. Finished trainings are not repeated, and
            seeds can be added.
        progress: Progress bars to draw on. Default: new ones on the terminal.
        workers: Workers that train.

    Returns:
        The content of `modalities.json`: for each seed the results of single modalities, and the
        results and computation of the methods by name.

    Raises:
        UserError: The task or its data can't be used, or the folder contains something else.
    """
    spec, output, resume = entered(ModalitiesSpec, spec, output, resume)
    with occupied(output):  # before anything in it is read: another process may add to it
        spec = grown(spec, output) if resume else spec
        check(spec)
        with threads_set(spec.threads), generators_kept():
            settings = modal_settings(spec, spec.seeds)
            known = {str(seed): digests(each) for seed, each in settings.items()}
        make = partial(of_seeds, settings, output, progress or bars(), workers, known)
        return STUDY.made(spec, output, resume, make, known)


def check(spec: ModalitiesSpec) -> None:
    """Check everything that can be checked before training starts.

    Raises:
        UserError: A name is unknown, or the task has no modalities.
    """
    for name in methods_of(spec):
        if name not in METHODS:
            raise UserError(f"there is no method {name!r}: choose from {', '.join(METHODS)}")
    rules.make(spec.rule, spec.seeds[0])
    with generators_kept():
        setting = modal_setting(spec, spec.seeds[0])
        modalities_of(setting)
        if any(not METHODS[name].attentive for name in methods_of(spec)):
            setting.concatenated()


def methods_of(spec: ModalitiesSpec) -> tuple[str, ...]:
    """Return the methods to compare.

    With concatenation as the spec's fusion, the methods with concatenation are left out by default:
    they would repeat the others.
    """
    if spec.methods is not None:
        return spec.methods
    plain = spec.fusion is not None and FUSIONS.make(spec.fusion).kind is Concatenation
    return tuple(name for name, each in METHODS.items() if each.attentive or not plain)


def of_seeds(
    settings: Mapping[int, ModalSetting],
    output: Path,
    progress: Progress,
    workers: Workers,
    known: Mapping[str, Mapping[str, str]],
) -> list[dict[str, Any]]:
    """Return each seed's part of the record; independent trainings run at the same time.

    Args:
        settings: Settings of one spec, by seed.
        output: Folder for the results.
        progress: Progress bars to draw on.
        workers: Workers that train.
        known: Each seed's digests; the keys are the seeds as text.
    """
    spec = next(iter(settings.values())).spec
    folders = {seed: output / f"seed-{seed}" for seed in spec.seeds}
    names = modalities_of(settings[spec.seeds[0]])
    with Executor(output, progress, places.find(workers, spec.threads)) as executor, progress:
        lone = [
            Alone(spec, seed, name, folders[seed], known[str(seed)])
            for seed in spec.seeds
            for name in names
        ]
        lonely = searched(lone, spec.rates, "single modalities", executor)
        made = []
        for place, seed in enumerate(spec.seeds):
            own = lonely[place * len(names) : (place + 1) * len(names)]
            made.append(begun(settings[seed], folders[seed], dict(zip(names, own, strict=True))))
        whole = [
            ByMethod(
                spec,
                each.setting.seed,
                name,
                each.folder,
                each.alone,
                each.budget,
                known[str(each.setting.seed)],
            )
            for each in made
            for name in methods_of(spec)
        ]
        found = iter(searched(whole, spec.rates, "whole networks", executor))
    return [record_of(each, {name: next(found) for name in methods_of(spec)}) for each in made]


def begun(setting: ModalSetting, folder: Path, alone: Mapping[str, Mapping[str, Any]]) -> OfSeed:
    """Return the starting point and the computation budget of a seed's methods.

    Raises:
        UserError: A modality could not be trained alone.
    """
    for name, each in alone.items():
        if "failed" in each:
            raise UserError(f"{name} alone, seed {setting.seed}: {each['failed']}")
    ground = Ground(setting, folder, alone, 0.0)
    method, samples = METHODS[OURS], len(setting.data.train)
    network = method.network(ground)
    warm = setting.spec.warm_epochs and warm_operations(setting, method, network)
    budget = Budget(
        sum(each["operations"] for each in alone.values()),
        setting.spec.warm_epochs * samples * warm,
        setting.epochs * samples * step_operations(setting, method, network, Joint()),
    )
    return OfSeed(setting, folder, alone, budget)


def record_of(seed: OfSeed, methods: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return a seed's part of the record."""
    every = with_searches(seed, methods) | untrained(seed)
    own = seed.setting.spec.target
    target = every[SINGLE]["validation_score"] if own is None else own
    return {
        "seed": seed.setting.seed,
        "task": describe_task(seed.setting.task, seed.setting.data),
        "fusion": type(seed.setting.network().fusion).__name__,
        "budget": asdict(seed.budget) | {"total": seed.budget.total},
        "target": target,
        "alone": dict(seed.alone),
        "methods": {
            name: dict(each)
            if "failed" in each
            else dict(each) | {"to_target": reached(each["course"], target)}
            for name, each in every.items()
        },
    }


def with_searches(
    seed: OfSeed, methods: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Return the methods' results with the full cost of their searches.

    The cost of a method that builds on single modalities includes the trials of these.
    """
    made = {}
    for name, each in methods.items():
        alone = searched_alone(seed) if METHODS[name].builds_on_alone else 0.0
        made[name] = dict(each) | {SEARCHED: each.get(SEARCHED, 0.0) + alone}
    return made


def searched_alone(seed: OfSeed) -> float:
    """Return the operations of all trials of single modalities."""
    return float(sum(each[SEARCHED] for each in seed.alone.values()))


def untrained(seed: OfSeed) -> dict[str, dict[str, Any]]:
    """Return the results of late fusion and the best single modality, which need no training."""
    setting = seed.setting
    networks = {name: kept(setting, seed.folder, name, each) for name, each in seed.alone.items()}
    searched = {SEARCHED: searched_alone(seed)}
    _, targets = setting.data.train.batch(torch.arange(1))
    late = LateFusion(networks, targets).eval()
    fused, taken = setting.evaluated(late), sum(each["seconds"] for each in seed.alone.values())
    whole = {"operations": seed.budget.alone, "seconds": taken}
    best = max(seed.alone, key=lambda name: quality(seed.alone[name]))
    single = seed.alone[best]
    return {
        LATE: fused
        | measured(setting, late, networks)
        | whole
        | {"course": [whole | {"score": fused["validation_score"]}]}
        | searched,
        SINGLE: {key: single[key] for key in KEPT} | {"modality": best} | searched,
    }
