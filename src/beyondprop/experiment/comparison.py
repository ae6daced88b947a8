"""A comparison: rules x seeds on one task, the same budget for every rule."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.progress import Progress

from beyondprop import rules, tasks
from beyondprop.experiment import forms
from beyondprop.experiment.cost import measure_costs
from beyondprop.experiment.plan import (
    ComparePlan,
    RunPlan,
    as_json,
    plan_compare,
)
from beyondprop.experiment.progress import bar, bars
from beyondprop.experiment.provenance import provenance, session
from beyondprop.experiment.record import (
    RECORD,
    describe_task,
    reason_of,
    run_record,
)
from beyondprop.experiment.run import over, run
from beyondprop.experiment.setup import check_rules, load, torch_settings
from beyondprop.experiment.spec import CompareSpec
from beyondprop.experiment.storage import SPEC, check_claim
from beyondprop.experiment.summary import finished, summarise
from beyondprop.experiment.table import number
from beyondprop.experiment.tuning import learning_rates, tune
from beyondprop.files import (
    StorageError,
    finite,
    write_json,
)
from beyondprop.measure import find_all
from beyondprop.registry import file_name
from beyondprop.tasks import Data, Task

COMPARISON, SESSIONS = "comparison.json", "sessions.json"
SCHEMA = 2


def compare(
    spec: CompareSpec,
    output: Path,
    resume: bool = False,
    task: Task | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train a task by several rules from several seeds and record how they compare.

    Every rule gets the same trials of learning rates, the same seeds (so the same initial weights
    and order of the data) and the same steps. A rule that fails or diverges is recorded so, and the
    others go on. The folder holds one folder a run in `runs/`, the trials' in `tuning/`, and, when
    all is done, `comparison.json`.

    Args:
        spec: What to compare.
        output: The comparison's folder.
        resume: Continue what the folder holds; runs that are over are kept, failed ones repeated.
        task: Your own task, instead of the one that the spec names.
        progress: Bars to draw on; by default own ones, on the terminal.

    Returns:
        The comparison's record.

    Raises:
        UserError: The task, measures, data or folder cannot be used, or none of the rules.
    """
    started = datetime.now(UTC)
    name, task = (task.name, task) if task else (spec.task, tasks.find(spec.task))
    for rule in spec.rules:
        rules.make(rule)
    find_all(spec.measures)
    plan = plan_compare(spec, task, name)
    check_claim(output, as_json(plan), resume)
    earlier = forms.read_comparison(output / COMPARISON)
    if earlier is not None and all(run["status"] != "failed" for run in earlier["runs"]):
        return earlier
    with torch_settings(plan), progress or bars() as shown:
        data = load(task, plan)
        check_rules(plan, task, data.train)
        write_json(output / SPEC, as_json(plan))
        before = (forms.read(output / SESSIONS, forms.SESSIONS) or {"sessions": []})["sessions"]
        write_json(output / SESSIONS, {"sessions": [*before, session(started)]})
        comparison: dict[str, Any] = finite(work(plan, task, data, output, shown))
        comparison["provenance"] = provenance(started, before)
    write_json(output / COMPARISON, comparison)
    return comparison


def work(
    plan: ComparePlan, task: Task, data: Data, folder: Path, progress: Progress
) -> dict[str, Any]:
    """Tune, run and measure; what is already in the folder is not done again."""
    tuning = tune(plan, task, data, folder, progress)
    progress.console.print(learning_rates(tuning))
    pairs = [(name, seed) for seed in plan.seeds for name in plan.names]
    records = []
    with bar(progress, "runs", len(pairs)) as shown:
        for name, seed in pairs:
            progress.update(shown, description=f"run: {name}, seed {seed}")
            wanted = plan.run(name, seed, tuning["chosen"][name])
            place = folder / "runs" / f"{file_name(name)}-seed{seed}"
            records.append(attempt_run(wanted, task, data, place, progress))
            progress.console.print(line(records[-1]))
            progress.advance(shown)
    done = {record["rule"]["name"] for record in finished(records)}
    rates = {rule: rate for rule, rate in tuning["chosen"].items() if rule in done}
    costs = measure_costs(plan, task, data.train, rates, progress) if plan.measure_cost else {}
    return {
        "schema": SCHEMA,
        "kind": "comparison",
        "task": describe_task(task, data),
        "seeds": list(plan.seeds),
        "spec": as_json(plan),
        "tuning": tuning,
        "measures": {each.name: each.description().json() for each in find_all(plan.measures)},
        "rows": summarise(list(plan.names), records, costs, plan.measures),
        "runs": records,
    }


def attempt_run(
    plan: RunPlan, task: Task, data: Data, folder: Path, progress: Progress
) -> dict[str, Any]:
    """Return a run's record, also where it fails; a run that is over is not run again."""
    started = datetime.now(UTC)
    check_claim(folder, as_json(plan), resume=True)
    earlier = over(folder)
    if earlier is not None:
        return earlier
    try:
        return run(plan, task, data, folder, progress)
    except StorageError:  # no fault of the rule's, and the others would meet it too
        raise
    except Exception as error:  # whatever a rule or a model does wrong, the others go on
        record = run_record(plan, task, data, started, None, None, failure=reason_of(error))
    write_json(folder / SPEC, as_json(plan))
    write_json(folder / RECORD, record)
    return record


def line(record: dict[str, Any]) -> str:
    """Return a run's outcome in one line."""
    name = f"{record['rule']['name']:>8} · seed {record['seed']}"
    if record["status"] != "finished":
        return f"{name} · {record['status']}: {record['reason']}"
    return f"{name} · test {record['task']['metric']} {number(record['test']['score'], '.4f')}"
