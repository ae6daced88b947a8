"""Comparisons: rules × seeds on one task, with the same budget for every rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import is_dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any
from uuid import uuid4

from rich.progress import Progress

from beyondprop import rules, tasks
from beyondprop.core import Rule
from beyondprop.errors import FAULTS, UserError
from beyondprop.experiment import forms, sessions
from beyondprop.experiment.chance import chance
from beyondprop.experiment.compared import COMPARISON, Comparison
from beyondprop.experiment.cost import measure_costs
from beyondprop.experiment.entry import entered
from beyondprop.experiment.growing import GROWS, added, complete, expanded, grown
from beyondprop.experiment.linear import LINEAR, LinearRuns, linear_runs
from beyondprop.experiment.plan import (
    ComparePlan,
    RunPlan,
    as_json,
    plan_compare,
)
from beyondprop.experiment.provenance import provenance, session
from beyondprop.experiment.recipe import RECIPE, recipe
from beyondprop.experiment.record import (
    RECORD,
    describe_task,
    reason_of,
    run_record,
)
from beyondprop.experiment.run import over, run, say_what_is_made_again
from beyondprop.experiment.search import Setting
from beyondprop.experiment.setup import check_rules, torch_settings
from beyondprop.experiment.source import Source, loaded
from beyondprop.experiment.spec import CompareSpec
from beyondprop.experiment.storage import SPEC, check_claim, occupied
from beyondprop.experiment.summary import finished, summarise
from beyondprop.experiment.table import number
from beyondprop.experiment.tuning import learning_rates, of_row, settings, tune
from beyondprop.files import (
    StorageError,
    finite,
    write_bytes,
    write_json,
)
from beyondprop.jobs import SERIAL, Executor, Job, Workers, places
from beyondprop.jobs.place import Place
from beyondprop.jobs.progress import bars
from beyondprop.measure import find_all
from beyondprop.registry import Spec, file_name, label
from beyondprop.tasks import Task

SCHEMA = 2


def compare(
    spec: CompareSpec,
    output: Path,
    resume: bool = False,
    task: Task | None = None,
    progress: Progress | None = None,
    workers: Workers = SERIAL,
) -> Comparison:
    """Train a task by several rules from several seeds and record how they compare.

    Every rule gets the same trials of learning rates, the same seeds (and with them the same
    initial weights and order of the data) and the same number of steps. If a rule fails or
    diverges, this is recorded, and the others continue. The folder contains one folder for each run
    in `runs/`, those of the trials in `tuning/`, and at the end `comparison.json`. The workers
    affect no figures except times.

    Args:
        spec: Settings of the comparison.
        output: The comparison's folder.
        resume: Continue the comparison in the folder. Finished runs are kept, failed ones are
            repeated, and rules and seeds that it does not contain yet are added.
        task: Your own task, instead of the one that the spec names.
        progress: Progress bars to draw on. Default: new ones on the terminal.
        workers: Workers that train: this process, several processes, or those of a cluster.

    Returns:
        The comparison's record, with methods to print and plot it.

    Raises:
        UserError: The task, measures, data, folder or workers cannot be used, or no rule can.
    """
    spec, output, resume = entered(CompareSpec, spec, output, resume)
    started = datetime.now(UTC)
    name, task = (task.name, task) if task else (spec.task, tasks.find(spec.task))
    find_all(spec.measures)
    with occupied(output):  # before anything in it is read: another process may add to it
        spec = grown(spec, output) if resume else expanded(spec)
        check_distinct(spec.rules_or_default)
        more = added(spec, output) if resume else ""
        plan = plan_compare(spec, task, name)
        place = places.find(workers, plan.threads, accelerators(plan))
        check_claim(output, as_json(plan), resume, GROWS)
        earlier = forms.read_comparison(output / COMPARISON)
        if earlier is not None and complete(earlier, plan):
            return Comparison(earlier)
        source = Source(uuid4().hex, task, plan)
        with torch_settings(plan), progress or bars() as shown:
            try:
                return Comparison(made(plan, source, output, shown, place, started, more))
            finally:
                loaded.cache_clear()


def check_distinct(named: Sequence[Spec]) -> None:
    """Check that rules can be built and differ, since equal ones would be counted twice.

    Raises:
        UserError: A rule cannot be built, or two specs name equal rules.
    """
    made = [(spec, rules.make(spec)) for spec in named]
    for (one, rule), (two, other) in combinations(made, 2):
        if _equal(rule, other):
            raise UserError(
                f"{label(one)} and {label(two)} are the same rule, which would be trained and "
                "counted twice: leave one of them out"
            )


def _equal(rule: Rule, other: Rule) -> bool:
    """Whether two rules are certainly equal; False if they can't be compared."""
    if not is_dataclass(type(rule)):  # its settings may not contain all that it holds
        return False
    try:
        return bool(rule.settings() == other.settings() and rule == other)
    except Exception:  # own rules can hold anything, such as tensors
        return False


def made(
    plan: ComparePlan,
    source: Source,
    output: Path,
    progress: Progress,
    place: Place | None,
    started: datetime,
    more: str,
) -> dict[str, Any]:
    """Make the comparison in its folder and return its record."""
    check_rules(plan, source.task, source.data(plan.seeds[0]).train)
    write_json(output / SPEC, as_json(plan))
    write_bytes(output / RECIPE, recipe(as_json(plan)).encode())
    now = session(started) | {"workers": describe(place, plan)}
    before = sessions.begin(output, now)
    if more:
        progress.console.print(more)
    comparison: dict[str, Any] = finite(work(plan, source, output, progress, place))
    comparison["provenance"] = provenance(started, before) | {"workers": now["workers"]}
    write_json(output / COMPARISON, comparison)
    return comparison


def accelerators(plan: ComparePlan) -> int:
    """Return the number of accelerators that a run needs."""
    return 0 if plan.device == "cpu" else 1


def describe(place: Place | None, plan: ComparePlan) -> dict[str, Any]:
    """Return the description of the workers for a record."""
    if place is None:
        return {"kind": "serial", "jobs": 1, "threads": plan.threads}
    return place.describe()


def work(
    plan: ComparePlan, source: Source, folder: Path, progress: Progress, place: Place | None
) -> dict[str, Any]:
    """Tune, run and measure; work that is already in the folder is not repeated."""
    with Executor(folder, progress, place) as executor:
        tuning = tune(plan, source, folder, executor)
        progress.console.print(learning_rates(tuning))
        chosen = settings(plan, source.task, tuning)
        records = runs(plan, source, folder, chosen, executor)
        linear = linear_runs(plan, source, folder)
        if isinstance(linear, LinearRuns):
            records += linear.records(executor)
        else:
            progress.console.print(f"no linear model: {linear}")
    # The workers have ended, so nothing else runs while a step is measured.
    done = {record["rule"]["name"] for record in finished(records)}
    timed = [name for name in plan.names if name in done]
    data = source.data(plan.seeds[0])
    nothing = chance(plan, source.task, data)
    rows = [*plan.names, *([] if isinstance(linear, str) else [LINEAR])]
    costs = {}
    if plan.measure_cost:
        costs = measure_costs(plan, source.task, data.train, timed, progress)
    return {
        "schema": SCHEMA,
        "kind": "comparison",
        "task": describe_task(source.task, data),
        "seeds": list(plan.seeds),
        "spec": as_json(plan),
        "tuning": tuning,
        "measures": {each.name: each.description().json() for each in find_all(plan.measures)},
        "chance": nothing,
        "no_linear": linear if isinstance(linear, str) else None,
        "rows": summarise(
            rows,
            records,
            {name: of_row(tuning, name) | costs.get(name, {}) for name in rows},
            plan.measures,
            nothing["score"],
        ),
        "runs": records,
    }


def runs(
    plan: ComparePlan,
    source: Source,
    folder: Path,
    chosen: dict[str, Setting],
    executor: Executor,
) -> list[dict[str, Any]]:
    """Return the records of every rule for every seed."""
    wanted = [plan.run(name, seed, chosen[name]) for seed in plan.seeds for name in plan.names]
    folders = [folder / "runs" / f"{file_name(one.name)}-seed{one.seed}" for one in wanted]
    jobs = [
        Job(
            f"{one.name}, seed {one.seed}",
            partial(attempt_run, one, source, at),
            partial(earlier_run, one, at),
        )
        for one, at in zip(wanted, folders, strict=True)
    ]
    for one, at in zip(wanted, folders, strict=True):
        say_what_is_made_again(one, at, executor.tell)
    outcomes = executor.perform("runs", jobs, line)
    return [
        outcome.value or failed_run(one, source, at, datetime.now(UTC), str(outcome.error))
        for one, at, outcome in zip(wanted, folders, outcomes, strict=True)
    ]


def earlier_run(plan: RunPlan, folder: Path) -> dict[str, Any] | None:
    """Return the record of a finished run, or None if the run is not complete."""
    check_claim(folder, as_json(plan), resume=True)
    return over(folder)


def attempt_run(plan: RunPlan, source: Source, folder: Path, progress: Progress) -> dict[str, Any]:
    """Return a run's record, also if it fails; a finished run is not repeated."""
    started = datetime.now(UTC)
    with occupied(folder), torch_settings(plan):
        earlier = earlier_run(plan, folder)
        if earlier is not None:
            return earlier
        try:
            return run(plan, source.task, source.data(plan.seed), folder, progress)
        except StorageError:  # not an error of the rule: the other runs would fail, too
            raise
        except FAULTS as error:  # any error of a rule or a model; the other runs continue
            return failed_run(plan, source, folder, started, reason_of(error))


def failed_run(
    plan: RunPlan, source: Source, folder: Path, started: datetime, reason: str
) -> dict[str, Any]:
    """Record that a run failed, and return the record."""
    record = run_record(
        plan, source.task, source.data(plan.seed), started, None, None, failure=reason
    )
    write_json(folder / SPEC, as_json(plan))
    write_json(folder / RECORD, record)
    return record


def line(record: dict[str, Any]) -> str:
    """Return a run's outcome in one line."""
    name = f"{record['rule']['name']:>8} · seed {record['seed']}"
    if record["status"] != "finished":
        return f"{name} · {record['status']}: {record['reason']}"
    return f"{name} · test {record['task']['metric']} {number(record['test']['score'], '.4f')}"
