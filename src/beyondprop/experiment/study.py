"""The search for one rule's settings on one task by Optuna, evaluated on validation data only.

The next setting depends only on the earlier trials and the seed, so a search that was killed
continues like an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from rich.progress import Progress

from beyondprop import tasks
from beyondprop.errors import FAULTS, UserError, install
from beyondprop.experiment import forms
from beyondprop.experiment.axes import Axis, axes_of
from beyondprop.experiment.entry import entered
from beyondprop.experiment.fit import fit
from beyondprop.experiment.plan import RunPlan, as_json, plan_run, usual_rate
from beyondprop.experiment.provenance import provenance
from beyondprop.experiment.record import describe_task, reason_of
from beyondprop.experiment.setup import load, of_seed, torch_settings
from beyondprop.experiment.storage import SPEC, check_claim, claimed
from beyondprop.experiment.study_spec import OPTIMIZER, RATE, StudySpec
from beyondprop.files import StorageError, finite, write_bytes, write_json
from beyondprop.jobs.progress import bar, bars
from beyondprop.jobs.view import watched
from beyondprop.registry import Spec
from beyondprop.tasks import Data, Task

STUDY, TRIAL, BEST, COMPARE = "study.json", "trial.json", "train.yaml", "compare.yaml"
SCHEMA = 1
WIDE = 100.0
"""Factor by which the search extends below and above the default learning rates."""


def study(
    spec: StudySpec,
    output: Path,
    resume: bool = False,
    task: Task | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Search for the settings of a rule with the best validation score.

    The folder contains one folder for each trial in `trials/`, `study.json` with all trials, and
    the best settings as `train.yaml` for `beyondprop train` and as `compare.yaml` for `beyondprop
    compare`.

    Args:
        spec: Settings of the search.
        output: Folder for the results.
        resume: Continue the search in the folder; finished trials are kept.
        task: Your own task, instead of the one that the spec names.
        progress: Progress bars to draw on. Default: new ones on the terminal.

    Returns:
        The content of `study.json`; `best` is None if no trial finished.

    Raises:
        UserError: The task, rule, data or folder cannot be used, or optuna is not installed.
    """
    spec, output, resume = entered(StudySpec, spec, output, resume)
    optuna_of()
    started = datetime.now(UTC)
    name, task = (task.name, task) if task else (spec.task, tasks.find(spec.task))
    optimizers = spec.labels(task.optimizers)
    usual = [usual_rate(task, each) for each in (optimizers.values() or (None,))]
    axes = axes_of(spec.rule) | {RATE: around(usual)}
    first = plan_run(spec.run({RATE: usual[0]}), task, name)
    settings = as_json(first) | {"trials": spec.trials, "optimizers": list(optimizers.values())}
    del settings[RATE], settings[OPTIMIZER]  # they are searched
    with (
        claimed(output, settings, resume, ("trials",)),
        torch_settings(first),
        progress or bars() as shown,
        watched(shown),
    ):
        data = of_seed(task, load(task, first), first.seed)
        write_json(output / SPEC, settings)
        made: list[dict[str, Any]] = []
        with bar(shown, "trials", spec.trials) as whole:
            for number in range(spec.trials):
                found = suggested(axes, list(optimizers), made, spec.seed + number)
                run = spec.run(found, optimizers)
                folder = output / "trials" / f"{number:04d}"
                plan = plan_run(run, task, name)
                made.append(tried(plan, found, task, data, folder, shown))
                shown.console.print(line(number, made[-1]))
                shown.advance(whole)
        result = finite(
            {
                "schema": SCHEMA,
                "kind": "study",
                "task": describe_task(task, data),
                "spec": settings,
                "axes": {each: asdict(axis) for each, axis in axes.items()},
                "trials": made,
                "best": best(made),
                "provenance": provenance(started),
            }
        )
        write_json(output / STUDY, result)
        write_best(spec, result, output, optimizers)
    return dict(result)


def optuna_of() -> Any:
    """Return the module optuna.

    Raises:
        UserError: It is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise UserError(f"the search needs optuna: {install('tune')}") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def around(usual: Sequence[float]) -> Axis:
    """Return the search range of the learning rate, around the default rates of all optimizers."""
    return Axis(min(usual) / WIDE, max(usual) * WIDE, usual[0], logarithmic=True)


def suggested(
    axes: Mapping[str, Axis], optimizers: list[str], made: list[dict[str, Any]], seed: int
) -> dict[str, Any]:
    """Return the setting to try after these trials, the same for the same trials and seed.

    The first setting is the default one. A trial that did not finish counts as the worst.
    """
    if not made:
        first = {OPTIMIZER: optimizers[0]} if optimizers else {}
        return first | {name: axis.usual for name, axis in axes.items()}
    optuna = optuna_of()
    space = {name: distribution(axis) for name, axis in axes.items()}
    if optimizers:
        space[OPTIMIZER] = optuna.distributions.CategoricalDistribution(optimizers)
    known = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed, multivariate=True)
    )
    for trial in made:
        finished = trial["status"] == "finished"
        known.add_trial(
            optuna.trial.create_trial(
                params=trial["setting"],
                distributions=space,
                value=trial["validation_score"] if finished else None,
                state=optuna.trial.TrialState["COMPLETE" if finished else "PRUNED"],
            )
        )
    return dict(known.ask(space).params)


def distribution(axis: Axis) -> Any:
    """Return an axis as an Optuna distribution."""
    of = optuna_of().distributions
    if axis.whole:
        return of.IntDistribution(int(axis.low), int(axis.high), log=axis.logarithmic)
    return of.FloatDistribution(axis.low, axis.high, log=axis.logarithmic)


def tried(
    plan: RunPlan,
    setting: Mapping[str, Any],
    task: Task,
    data: Data,
    folder: Path,
    progress: Progress,
) -> dict[str, Any]:
    """Return the record of a trial; a finished one is kept, an interrupted one is continued."""
    check_claim(folder, as_json(plan), resume=True)
    earlier = forms.read(folder / TRIAL, forms.STUDIED)
    if earlier is not None:
        return earlier
    status, reason = "finished", None
    last: Mapping[str, Any] = {}
    try:
        fitted = fit(plan, task, data, folder, progress)
    except StorageError:  # not an error of the setting: the other trials would fail, too
        raise
    except FAULTS as error:  # any error of a rule with this setting; the other trials continue
        status, reason = "failed", reason_of(error)
    else:
        status, reason = ("diverged", fitted.trouble) if fitted.trouble else (status, None)
        last = fitted.curve[-1]
    figures = {each: last.get(each) for each in ("validation_score", "validation_loss")}
    if status == "finished" and finite(figures["validation_score"]) is None:
        status, reason = "diverged", "its score is not a number"
    made = {"setting": dict(setting), "status": status, "reason": reason, **figures}
    write_json(folder / TRIAL, made)
    return dict(finite(made))


def best(trials: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the finished trial with the best validation score, the first of equal ones."""
    finished = [trial for trial in trials if trial["status"] == "finished"]
    return max(finished, key=lambda trial: trial["validation_score"], default=None)


def line(number: int, trial: Mapping[str, Any]) -> str:
    """Return a trial's outcome in one line."""
    said = f"trial {number} · {words(trial['setting'])}"
    if trial["status"] != "finished":
        return f"{said} · {trial['status']}: {trial['reason']}"
    return f"{said} · validation score {trial['validation_score']:.4f}"


def words(setting: Mapping[str, Any]) -> str:
    """Return the display text of a setting."""
    return ", ".join(
        f"{name} {value}" if isinstance(value, str) else f"{name} {value:.4g}"
        for name, value in setting.items()
    )


def write_best(
    spec: StudySpec, result: Mapping[str, Any], folder: Path, optimizers: Mapping[str, Spec]
) -> None:
    """Write the best trial's settings for `train`, and its rule's arguments for `compare`.

    A comparison gives every rule the same search of learning rates, so it does not use the rate.
    """
    if result["best"] is None:
        return
    run = spec.run(result["best"]["setting"], optimizers)
    rule = run.rule
    common = {key: result["spec"][key] for key in ("task", "epochs", "batch_size", "blocks")}
    controls = [each for each in ("backprop", "frozen") if each != rule]
    trained: dict[str, Any] = common | {"rule": rule, RATE: run.learning_rate}
    if run.optimizer is not None:
        trained[OPTIMIZER] = run.optimizer
    compared = common | {"rules": [*controls[:1], rule, *controls[1:]]}
    if optimizers:
        compared["optimizers"] = list(optimizers.values())
    kinds = {BEST: trained, COMPARE: compared}
    for name, content in kinds.items():
        text = yaml.safe_dump(content, sort_keys=False, default_flow_style=False)
        write_bytes(folder / name, text.encode())
