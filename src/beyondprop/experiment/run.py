"""Runs: a task is trained by a rule with a seed, tested once, and recorded."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from rich.progress import Progress

from beyondprop import rules, tasks
from beyondprop._torch.weights import WEIGHTS, weights
from beyondprop.experiment import forms, schedules
from beyondprop.experiment.assess import run_subject, score
from beyondprop.experiment.entry import entered
from beyondprop.experiment.fit import Fit, fit
from beyondprop.experiment.measuring import of_run
from beyondprop.experiment.plan import RunPlan, as_json, plan_run
from beyondprop.experiment.processes import joined, on_first
from beyondprop.experiment.record import RECORD, run_record
from beyondprop.experiment.setup import load, of_seed, torch_settings
from beyondprop.experiment.spec import RunSpec
from beyondprop.experiment.storage import claimed
from beyondprop.files import (
    StorageError,
    cannot,
    write_bytes,
    write_json,
)
from beyondprop.jobs.progress import bars
from beyondprop.jobs.view import watched
from beyondprop.measure import find_all
from beyondprop.tasks import Data, Task


def train(
    spec: RunSpec,
    output: Path,
    resume: bool = False,
    task: Task | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train one task by one rule with one seed, and record it in a folder.

    The folder contains `spec.json`, `metrics.jsonl`, `checkpoint.pt`, `weights.safetensors` and, at
    the end of the run, `record.json`. On the CPU, a run that was killed and resumed gives the same
    bytes in the weights file as an uninterrupted run.

    Args:
        spec: Settings of the run.
        output: The run's folder.
        resume: Continue the run in the folder. The record of a finished run is returned unchanged.
        task: Your own task, instead of the one that the spec names.
        progress: Progress bars to draw on. Default: new ones on the terminal.

    Returns:
        The record: `status` is "finished", or "diverged" with the `reason`.

    Raises:
        UserError: The task, rule, measures, blocks, data or folder cannot be used; the message says
            why.
    """
    spec, output, resume = entered(RunSpec, spec, output, resume)
    name, task = (task.name, task) if task else (spec.task, tasks.find(spec.task))
    rules.make(spec.rule)
    find_all(spec.measures)
    plan = plan_run(spec, task, name)
    schedules.find(plan.schedule)
    with joined(plan), ExitStack() as until_then:
        earlier = on_first(partial(_claimed, plan, output, resume, until_then))
        if earlier is not None:
            return earlier
        with torch_settings(plan), progress or bars() as shown, watched(shown):
            on_first(partial(say_what_is_made_again, plan, output, shown.console.print))
            data = of_seed(task, load(task, plan), plan.seed)
            return run(plan, task, data, output, shown)


def run(plan: RunPlan, task: Task, data: Data, folder: Path, progress: Progress) -> dict[str, Any]:
    """Train, test once, take the measures and write the record; see `train`."""
    started = datetime.now(UTC)
    fitted = fit(plan, task, data, folder, progress)
    return on_first(partial(_recorded, plan, task, data, folder, started, fitted))


def _claimed(
    plan: RunPlan, folder: Path, resume: bool, until_then: ExitStack
) -> dict[str, Any] | None:
    """Lock the folder; return the record of a finished run in it, or None."""
    until_then.enter_context(claimed(folder, as_json(plan), resume))
    return over(folder)


def _recorded(
    plan: RunPlan, task: Task, data: Data, folder: Path, started: datetime, fitted: Fit
) -> dict[str, Any]:
    model = fitted.handle.model
    content = weights(model)
    write_bytes(folder / WEIGHTS, content)
    # The test split is used only here: once, with the last weights, and nothing depends on it.
    test = score(task, model, data.test) if fitted.trouble is None else None
    subject = run_subject(plan, task, data, fitted.handle)
    measured = of_run(subject, fitted.curve, fitted.trouble is None, plan.measures)
    record = run_record(plan, task, data, started, fitted, test, measured)
    record["weights_sha256"] = sha256(content).hexdigest()
    write_json(folder / RECORD, record)
    return record


def over(folder: Path) -> dict[str, Any] | None:
    """Return the record of a run that finished or diverged; None if the run is not complete.

    A run whose weights are missing is not complete; see `lacks_weights`.

    Raises:
        StorageError: The record or the weights are not those that the run wrote.
    """
    record = forms.read_run(folder / RECORD)
    if record is None or record["status"] == "failed" or lacks_weights(folder):
        return None
    _check_weights(folder / WEIGHTS, record)
    return record


def lacks_weights(folder: Path) -> bool:
    """Whether a run was recorded but its weights are missing.

    They are then made again, from the run's last checkpoint if there is one.
    """
    record = forms.read_run(folder / RECORD)
    trained = record is not None and record["status"] != "failed"
    return trained and not (folder / WEIGHTS).exists()


def say_what_is_made_again(plan: RunPlan, folder: Path, tell: Callable[[str], object]) -> None:
    """Report that a finished run is repeated because its weights are missing."""
    if lacks_weights(folder):
        tell(f"{plan.name}, seed {plan.seed}: its {WEIGHTS} is missing, so the run is repeated")


def _check_weights(path: Path, record: dict[str, Any]) -> None:
    """Compare a weights file with its record, if that has a digest."""
    expected = record.get("weights_sha256")
    if expected is None:
        return
    try:
        found = sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise cannot("read", path, error) from None
    if found != expected:
        raise StorageError(f"{path} does not match its record: delete it to make it again")
