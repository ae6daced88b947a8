"""Choosing learning rates: the same trials for every rule, judged on validation alone."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rich.progress import Progress

from beyondprop.experiment import forms
from beyondprop.experiment.controls import is_solved
from beyondprop.experiment.fit import fit
from beyondprop.experiment.plan import ComparePlan, RunPlan, as_json
from beyondprop.experiment.record import reason_of
from beyondprop.experiment.setup import torch_settings
from beyondprop.experiment.source import Source
from beyondprop.experiment.storage import check_claim
from beyondprop.files import (
    StorageError,
    write_json,
)
from beyondprop.jobs import Executor, Job
from beyondprop.jobs.lock import held
from beyondprop.registry import file_name

TRIAL, TUNING = "trial.json", "tuning.json"


def tune(plan: ComparePlan, source: Source, folder: Path, executor: Executor) -> dict[str, Any]:
    """Let every rule try every learning rate once, from the tuning seed.

    Args:
        plan: The comparison's; with one learning rate alone there is nothing to try.
        source: The task and its data; the test split is not looked at.
        folder: The comparison's; `tuning/` has a folder for each trial.
        executor: Carries out the trials.

    Returns:
        `epochs`, `learning_rates`, `trials` and `chosen`, the learning rate of each rule; None
        where nothing is trained, as the last layer is solved.
    """
    earlier = forms.read_tuning(folder / TUNING) or {"chosen": {}, "trials": []}
    if earlier["chosen"].keys() >= plan.names.keys():
        return earlier
    # Where a rule was added, the others' runs were made with what was chosen then.
    known = {name: of_rule(earlier["trials"], name) for name in earlier["chosen"]}
    new = [name for name in plan.names if name not in known]
    left = [name for name in new if not is_solved(plan, name, source)]
    tried = trials(plan, left, source, folder, executor)
    fresh = {name: choose(tried[name], plan.learning_rates) for name in left}
    tuning = {
        "epochs": plan.tuning_epochs,
        "learning_rates": list(plan.learning_rates),
        "trials": [trial for name in plan.names for trial in (known | tried).get(name, ())],
        "chosen": {name: (earlier["chosen"] | fresh).get(name) for name in plan.names},
    }
    write_json(folder / TUNING, tuning)
    return tuning


def of_rule(trials: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """Return the trials of one rule."""
    return [trial for trial in trials if trial["rule"] == name]


def trials(
    plan: ComparePlan, names: list[str], source: Source, folder: Path, executor: Executor
) -> dict[str, list[dict[str, Any]]]:
    """Return the records of the trials of these rules, by the rule."""
    rates = plan.learning_rates if len(plan.learning_rates) > 1 else ()
    wanted = [plan.trial(name, rate) for name in names for rate in rates]
    folders = [
        folder / "tuning" / f"{file_name(one.name)}-lr{one.learning_rate:g}" for one in wanted
    ]
    jobs = [
        Job(
            f"trial of {one.name}, learning rate {one.learning_rate:g}",
            partial(attempt_trial, one, source, at),
            partial(earlier_trial, one, at),
        )
        for one, at in zip(wanted, folders, strict=True)
    ]
    outcomes = executor.perform("trials", jobs, line)
    records = [
        outcome.value or record(one, at, "failed", str(outcome.error))
        for one, at, outcome in zip(wanted, folders, outcomes, strict=True)
    ]
    return {name: of_rule(records, name) for name in names}


def earlier_trial(plan: RunPlan, folder: Path) -> dict[str, Any] | None:
    """Return the record of a trial that is over, or None where there is more to do."""
    check_claim(folder, as_json(plan), resume=True)
    return forms.read_trial(folder / TRIAL)


def attempt_trial(
    plan: RunPlan, source: Source, folder: Path, progress: Progress
) -> dict[str, Any]:
    """Train without testing; a trial that is over is not done again, a broken one continued."""
    with held(folder), torch_settings(plan):
        earlier = earlier_trial(plan, folder)
        if earlier is not None:
            return earlier
        try:
            fitted = fit(plan, source.task, source.data(), folder, progress)
        except StorageError:  # no fault of the rule's, and the others would meet it too
            raise
        except Exception as error:  # whatever a rule or a model does wrong, the others go on
            return record(plan, folder, "failed", reason_of(error))
    if fitted.trouble:
        return record(plan, folder, "diverged", fitted.trouble)
    return record(plan, folder, "finished", None, fitted.curve[-1])


def record(
    plan: RunPlan,
    folder: Path,
    status: str,
    reason: str | None,
    last: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """Write the record of a trial and return it; `last` is the end of its curve."""
    made = {
        "rule": plan.name,
        "learning_rate": plan.learning_rate,
        "seed": plan.seed,
        "status": status,
        "reason": reason,
        "validation_score": last.get("validation_score"),
        "validation_loss": last.get("validation_loss"),
    }
    write_json(folder / TRIAL, made)
    return made


def line(trial: dict[str, Any]) -> str:
    """Return a trial's outcome in one line."""
    name = f"{trial['rule']:>8} · learning rate {trial['learning_rate']:g}"
    if trial["status"] != "finished":
        return f"{name} · {trial['status']}: {trial['reason']}"
    return f"{name} · validation score {trial['validation_score']:.4f}"


def choose(trials: list[dict[str, Any]], rates: tuple[float, ...]) -> float:
    """Return the learning rate with the best validation score at the end of its trial.

    A tie goes to the lower validation loss, then to the lower learning rate. Where no trial
    finished it is the lowest learning rate of all.
    """
    finished = [trial for trial in trials if trial["status"] == "finished"]
    best = max(
        finished,
        key=lambda t: (t["validation_score"], -t["validation_loss"], -t["learning_rate"]),
        default={"learning_rate": min(rates)},
    )
    return float(best["learning_rate"])


def learning_rates(tuning: Mapping[str, Any]) -> str:
    """Return each rule's learning rate, in words."""
    judged = judged_rules(tuning)
    how = ", chosen on validation" if judged else ""
    unjudged = " (no trial finished, the lowest is taken)" if tuning["trials"] else ""
    rates = ", ".join(
        f"{rule} {rate:g}{'' if rule in judged else unjudged}"
        for rule, rate in tuning["chosen"].items()
        if rate is not None
    )
    return f"learning rates{how}: {rates or 'none, as nothing is trained'}"


def edge(tuning: Mapping[str, Any]) -> str:
    """Return a warning about rules whose chosen learning rate is the least or greatest tried, if
    any.
    """
    tried, judged = tuning["learning_rates"], judged_rules(tuning)
    rules = [
        rule
        for rule, rate in tuning["chosen"].items()
        if rule in judged and rate in (min(tried), max(tried))
    ]
    if not rules:
        return ""
    return (
        f"the rate chosen for {', '.join(rules)} lies at the edge of those tried: "
        "a wider range of --learning_rates may serve better"
    )


def judged_rules(tuning: Mapping[str, Any]) -> set[str]:
    """Return the rules whose learning rate was chosen by a trial: those of which one finished."""
    return {trial["rule"] for trial in tuning["trials"] if trial["status"] == "finished"}
