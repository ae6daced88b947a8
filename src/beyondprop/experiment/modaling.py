"""Modalities trained alone and then together, beside what else is done for them.

For each seed every modality's sub-network is trained alone. Then the whole network is trained by
each method, all with as much computation: that of pre-training and of the joint training behind it,
in floating-point operations. Beside them stand the best single modality, by validation, and the
mean of all (late fusion), for which nothing more is trained.

The search of learning rates and validation are charged to no method. Of the search it is recorded
what it took.
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
from beyondprop.jobs import SERIAL, Executor, Workers, places
from beyondprop.jobs.lock import held
from beyondprop.jobs.progress import bars
from beyondprop.modalities import FUSIONS, Concatenation
from beyondprop.modalities.balance import Joint

MODALITIES = "modalities.json"
STUDY = Study("modalities", "modalities", MODALITIES)
KEPT = (
    *("validation_score", "validation_loss", "score", "loss"),
    *("operations", "seconds", "course"),
)
"""Of what a modality reaches alone, where it is the best one."""

LATE, SINGLE = "late fusion", "best single modality"


@dataclass(frozen=True)
class OfSeed:
    """What is trained of one seed.

    Attributes:
        setting: Of the seed.
        folder: Of the seed.
        alone: What each modality reached alone, by name.
        budget: What every method may compute.
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
        spec: What to train.
        output: The folder.
        resume: Continue what the folder holds: what is finished is not done again, and seeds may be
            added.
        progress: Bars to draw on; by default own ones, on the terminal.
        workers: Who trains.

    Returns:
        The content of `modalities.json`: for each seed what modalities reach alone, and by name of
        the method what each reaches, at what computation.

    Raises:
        UserError: The task or its data can't be used, or the folder holds something else.
    """
    spec, output, resume = entered(ModalitiesSpec, spec, output, resume)
    with held(output):  # before anything in it is read: another process may add to it
        spec = grown(spec, output) if resume else spec
        check(spec)
        with threads_set(spec.threads), generators_kept():
            settings = modal_settings(spec, spec.seeds)
            known = {str(seed): digests(each) for seed, each in settings.items()}
        make = partial(of_seeds, settings, output, progress or bars(), workers, known)
        return STUDY.made(spec, output, resume, make, known)


def check(spec: ModalitiesSpec) -> None:
    """Check all that can be known before anything is trained.

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
    """Return the methods that are asked for; none twice, where all concatenate."""
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
    """Return all that each seed gives; whatever is independent is trained at the same time.

    Args:
        settings: By seed, all of one spec.
        output: The folder.
        progress: Bars to draw on.
        workers: Who trains.
        known: Each seed's digests, by its number as text.
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
    """Return what the methods of a seed start from, and what they may compute.

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
    """Return what a seed gives."""
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
    """Return what methods reach, with all that finding it took: the trials of single modalities are
    a part of every method that builds on these.
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
    """Return what late fusion and the best single modality reach, of which nothing is trained."""
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
