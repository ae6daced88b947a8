"""Choosing learning rates: the same trials for every rule, judged on validation alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.progress import Progress

from beyondprop.experiment import forms
from beyondprop.experiment.fit import fit
from beyondprop.experiment.plan import ComparePlan, RunPlan, as_json
from beyondprop.experiment.progress import bar
from beyondprop.experiment.record import reason_of
from beyondprop.experiment.storage import check_claim
from beyondprop.files import (
    StorageError,
    write_json,
)
from beyondprop.registry import file_name
from beyondprop.tasks import Data, Task

TRIAL, TUNING = "trial.json", "tuning.json"


def tune(
    plan: ComparePlan, task: Task, data: Data, folder: Path, progress: Progress
) -> dict[str, Any]:
    """Let every rule try every learning rate once, from the tuning seed.

    Args:
        plan: The comparison's; with one learning rate alone there is nothing to try.
        task: What is trained on.
        data: Its data; the test split is not looked at.
        folder: The comparison's; `tuning/` has a folder for each trial.
        progress: Bars to draw on.

    Returns:
        `epochs`, `learning_rates`, `trials` and `chosen`, the learning rate of each rule.
    """
    earlier = forms.read_tuning(folder / TUNING)
    if earlier is not None:  # the runs were made with what was chosen then
        return earlier
    rates = plan.learning_rates
    pairs = [(name, rate) for name in plan.names for rate in rates] if len(rates) > 1 else []
    trials = []
    with bar(progress, "trials", len(pairs)) as shown:
        for name, rate in pairs:
            progress.update(shown, description=f"trial: {name}, learning rate {rate:g}")
            place = folder / "tuning" / f"{file_name(name)}-lr{rate:g}"
            trials.append(trial(plan.trial(name, rate), task, data, place, progress))
            progress.advance(shown)
    tuning = {
        "epochs": plan.tuning_epochs,
        "learning_rates": list(rates),
        "trials": trials,
        "chosen": {
            name: choose([trial for trial in trials if trial["rule"] == name], rates)
            for name in plan.names
        },
    }
    write_json(folder / TUNING, tuning)
    return tuning


def trial(
    plan: RunPlan, task: Task, data: Data, folder: Path, progress: Progress
) -> dict[str, Any]:
    """Train without testing; a trial that is over is not done again, a broken one continued."""
    check_claim(folder, as_json(plan), resume=True)
    earlier = forms.read_trial(folder / TRIAL)
    if earlier is not None:
        return earlier
    status, reason, last = "failed", None, {}
    try:
        fitted = fit(plan, task, data, folder, progress)
    except StorageError:  # no fault of the rule's, and the others would meet it too
        raise
    except Exception as error:  # whatever a rule or a model does wrong, the others go on
        reason = reason_of(error)
    else:
        status, reason = "diverged" if fitted.trouble else "finished", fitted.trouble
        last = {} if fitted.trouble else fitted.curve[-1]
    record = {
        "rule": plan.name,
        "learning_rate": plan.learning_rate,
        "seed": plan.seed,
        "status": status,
        "reason": reason,
        "validation_score": last.get("validation_score"),
        "validation_loss": last.get("validation_loss"),
    }
    write_json(folder / TRIAL, record)
    return record


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
    )
    return f"learning rates{how}: {rates}"


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
