"""Search of learning rates and optimizers: the same budget for every rule, on validation data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rich.progress import Progress

from beyondprop.errors import FAULTS
from beyondprop.experiment import forms
from beyondprop.experiment.fit import fit
from beyondprop.experiment.head import is_solved
from beyondprop.experiment.plan import ComparePlan, RunPlan, as_json
from beyondprop.experiment.record import reason_of
from beyondprop.experiment.search import Setting, Space, at_edge, chosen, spent, wanted
from beyondprop.experiment.setup import torch_settings
from beyondprop.experiment.source import Source
from beyondprop.experiment.step_cost import step_costs
from beyondprop.experiment.storage import check_claim, occupied
from beyondprop.files import (
    StorageError,
    write_json,
)
from beyondprop.jobs import Executor, Job
from beyondprop.registry import file_name, label
from beyondprop.tasks import Task

TRIAL, TUNING = "trial.json", "tuning.json"


def tune(plan: ComparePlan, source: Source, folder: Path, executor: Executor) -> dict[str, Any]:
    """Search every rule's learning rate and optimizer within the same budget.

    Args:
        plan: The comparison's plan. With one optimizer and one learning rate, nothing is tried.
        source: The task and its data; the test split is not used.
        folder: The comparison's folder, in which `tuning/` has a folder for each trial.
        executor: Executor of the trials.

    Returns:
        `epochs` of each length, `budget` and `trials`; for each rule `chosen`, its learning rate
        (None if nothing is trained because the last layer is solved); and `searches`: its
        optimizer, the number of trials, their cost and that of a step relative to backprop, and
        whether the budget ended before the rate was between two others.
    """
    earlier = forms.read_tuning(folder / TUNING) or {"chosen": {}, "trials": [], "searches": {}}
    if earlier["chosen"].keys() >= plan.names.keys():
        return earlier
    # If a rule was added, the others' runs were made with the earlier choices.
    found = {name: of_rule(earlier["trials"], name) for name in earlier["chosen"]}
    added = [name for name in plan.names if name not in found]
    left = [name for name in added if not is_solved(plan, name, source)]
    searches = dict(earlier["searches"])
    train = source.data(plan.tuning_seed).train
    space = plan.space_on(len(train))
    if not alone(plan):
        counted = step_costs(plan, source.task, train, left)
        costs = dict.fromkeys(left, 1.0) | counted
        found |= search(plan, space, costs, source, folder, executor)
        searches |= {
            name: summary(space, found[name], costs[name]) | {"counted": name in counted}
            for name in left
        }
    best = {name: chosen(space, found.get(name, [])).learning_rate for name in left}
    tuning = {
        "epochs": list(space.lengths),
        "budget": plan.tuning_budget,
        "trials": [trial for name in plan.names for trial in found.get(name, [])],
        "chosen": {name: (earlier["chosen"] | best).get(name) for name in plan.names},
        "searches": searches,
    }
    write_json(folder / TUNING, tuning)
    return tuning


def alone(plan: ComparePlan) -> bool:
    """Whether there is only one setting, so that nothing is searched."""
    return len(plan.space.grid()) == 1


def settings(plan: ComparePlan, task: Task, tuning: Mapping[str, Any]) -> dict[str, Setting]:
    """Return the setting of each rule's runs."""
    only = {"optimizer": plan.first.optimizer}
    return {
        rule: Setting(tuning["searches"].get(rule, only)["optimizer"], rate or task.learning_rate)
        for rule, rate in tuning["chosen"].items()
    }


def summary(space: Space, trials: Sequence[Mapping[str, Any]], cost: float) -> dict[str, Any]:
    """Return the summary of a rule's search."""
    return {
        "optimizer": chosen(space, trials).optimizer,
        "trials": len(trials),
        "compute": spent(space, trials, cost),
        "step_cost": cost,
        "edge": at_edge(space, trials),
    }


def of_row(tuning: Mapping[str, Any], rule: str) -> dict[str, Any]:
    """Return the entries of a rule's row about its search."""
    own = tuning["searches"].get(rule, {})
    return {
        "learning_rate": tuning["chosen"].get(rule),
        "optimizer": own.get("optimizer"),
        "trials": own.get("trials", 0),
        "search_compute": own.get("compute"),
        "search_step_cost": own.get("step_cost"),
        "search_edge": own.get("edge", False),
    }


def of_rule(trials: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """Return the trials of one rule."""
    return [trial for trial in trials if trial["rule"] == name]


def search(
    plan: ComparePlan,
    space: Space,
    costs: Mapping[str, float],
    source: Source,
    folder: Path,
    executor: Executor,
) -> dict[str, list[dict[str, Any]]]:
    """Return the records of trials by rule, for the rules in ``costs``.

    The next trials of all rules run together, so that workers can run them in parallel.
    """
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in costs}
    while True:
        plans = [
            plan.trial(name, setting, epochs)
            for name, cost in costs.items()
            for setting, epochs in wanted(space, found[name], cost)
        ]
        if not plans:
            return found
        for trial in perform(plans, source, folder, executor):
            found[trial["rule"]].append(trial)


def perform(
    plans: Sequence[RunPlan], source: Source, folder: Path, executor: Executor
) -> list[dict[str, Any]]:
    """Return the records of trials; those in the folder are not repeated."""
    folders = [folder / "tuning" / file_name(title(one)) for one in plans]
    jobs = [
        Job(
            f"trial of {title(one)}",
            partial(attempt_trial, one, source, at),
            partial(earlier_trial, one, at),
        )
        for one, at in zip(plans, folders, strict=True)
    ]
    outcomes = executor.perform("trials", jobs, line)
    return [
        outcome.value or record(one, at, "failed", str(outcome.error))
        for one, at, outcome in zip(plans, folders, outcomes, strict=True)
    ]


def title(plan: RunPlan) -> str:
    """Return a title that identifies a trial in its comparison."""
    optimizer = "" if plan.optimizer is None else f" {label(plan.optimizer)}"
    return f"{plan.name}{optimizer} lr{plan.learning_rate} epochs{plan.epochs}"


def earlier_trial(plan: RunPlan, folder: Path) -> dict[str, Any] | None:
    """Return the record of a finished trial, or None if the trial is not complete."""
    check_claim(folder, as_json(plan), resume=True)
    return forms.read_trial(folder / TRIAL)


def attempt_trial(
    plan: RunPlan, source: Source, folder: Path, progress: Progress
) -> dict[str, Any]:
    """Train without testing; a finished trial is kept, an interrupted one is continued."""
    with occupied(folder), torch_settings(plan):
        earlier = earlier_trial(plan, folder)
        if earlier is not None:
            return earlier
        try:
            data = source.data(plan.seed)
            fitted = fit(plan, source.task, data, folder, progress)
        except StorageError:  # not an error of the rule: the other trials would fail, too
            raise
        except FAULTS as error:  # any error of a rule or a model; the other trials continue
            return record(plan, folder, "failed", reason_of(error))
        if fitted.trouble:
            return record(plan, folder, "diverged", fitted.trouble)
        return record(plan, folder, "finished", None, fitted.curve[-1], len(data.validation))


def record(
    plan: RunPlan,
    folder: Path,
    status: str,
    reason: str | None,
    last: Mapping[str, Any] = MappingProxyType({}),
    samples: int | None = None,
) -> dict[str, Any]:
    """Write the record of a trial and return it.

    Args:
        plan: The trial's plan.
        folder: The trial's folder.
        status: Status of the trial.
        reason: Why it did not finish, or None.
        last: Last point of its curve.
        samples: Number of validation samples of the score.
    """
    made = {
        "rule": plan.name,
        "optimizer": "" if plan.optimizer is None else label(plan.optimizer),
        "learning_rate": plan.learning_rate,
        "epochs": plan.epochs,
        "seed": plan.seed,
        "status": status,
        "reason": reason,
        "validation_score": last.get("validation_score"),
        "validation_loss": last.get("validation_loss"),
        "validation_samples": samples,
    }
    write_json(folder / TRIAL, made)
    return made


def line(trial: dict[str, Any]) -> str:
    """Return a trial's outcome in one line."""
    optimizer = f" · {trial['optimizer']}" if trial["optimizer"] else ""
    epochs = "1 epoch" if trial["epochs"] == 1 else f"{trial['epochs']} epochs"
    name = f"{trial['rule']:>8}{optimizer} · learning rate {trial['learning_rate']:g} · {epochs}"
    if trial["status"] != "finished":
        return f"{name} · {trial['status']}: {trial['reason']}"
    return f"{name} · validation score {trial['validation_score']:.4f}"


def learning_rates(tuning: Mapping[str, Any]) -> str:
    """Return the note on each rule's learning rate and optimizer."""
    judged = judged_rules(tuning)
    how = ", chosen on validation" if judged else ""
    lowest = " (no trial finished, so the lowest is used)"
    middle = " (the budget allows no trial, so the middle of the grid is used)"
    tried = {trial["rule"] for trial in tuning["trials"]}
    optimizers = {rule: one["optimizer"] for rule, one in tuning.get("searches", {}).items()}
    rates = ", ".join(
        " ".join(filter(None, (rule, optimizers.get(rule), f"{rate:g}")))
        + ("" if rule in judged or not tried else lowest if rule in tried else middle)
        for rule, rate in tuning["chosen"].items()
        if rate is not None
    )
    return f"learning rates{how}: {rates or 'none, because nothing is trained'}"


def edge(tuning: Mapping[str, Any]) -> str:
    """Return the warnings on searches: rates at an edge, and steps with an estimated cost."""
    rules, judged = at_edges(tuning), judged_rules(tuning)
    tried = {trial["rule"] for trial in tuning["trials"]}
    at_edge = [rule for rule in rules if rule in judged]
    lost = [rule for rule in rules if rule in tried and rule not in judged]
    numbers = {trial["rule"] for trial in tuning["trials"] if trial["status"] == "diverged"}
    diverged = [rule for rule in lost if rule in numbers]
    failed = [rule for rule in lost if rule not in numbers]
    untried = [rule for rule in rules if rule not in tried]
    larger = "try a larger tuning_budget"
    searches = tuning.get("searches", {})
    uncounted = [rule for rule, one in searches.items() if not one.get("counted", True)]
    guess = "the operations of a step by {} cannot be counted, so the search uses backprop's"
    warnings = (
        (at_edge, f"the rate chosen for {{}} lies at the edge of those tried: {larger}"),
        (diverged, "no trial of {} finished: try lower learning_rates"),
        (failed, "{} failed in every trial: the lines above give the reasons"),
        (untried, f"the budget allows no trial of {{}}: {larger}"),
        (uncounted, guess),
    )
    return "; ".join(said.format(", ".join(of)) for of, said in warnings if of)


def at_edges(tuning: Mapping[str, Any]) -> list[str]:
    """Return the rules whose chosen learning rate is not between two others."""
    if "searches" in tuning:
        return [rule for rule, one in tuning["searches"].items() if one["edge"]]
    # Records from before grids moved, when all rules tried the same rates.
    tried, judged = tuning.get("learning_rates", []), judged_rules(tuning)
    ends = (min(tried, default=None), max(tried, default=None))
    return [rule for rule, rate in tuning["chosen"].items() if rule in judged and rate in ends]


def judged_rules(tuning: Mapping[str, Any]) -> set[str]:
    """Return the rules whose learning rate was chosen by trials: those with a finished trial."""
    return {trial["rule"] for trial in tuning["trials"] if trial["status"] == "finished"}
