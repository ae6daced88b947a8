"""A comparison on several tasks: one folder that holds an ordinary comparison for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.progress import Progress

from beyondprop import tasks
from beyondprop.errors import UserError
from beyondprop.experiment.comparison import compare
from beyondprop.experiment.entry import entered
from beyondprop.experiment.growing import GROWS, expanded, grown
from beyondprop.experiment.recipe import RECIPE, recipe
from beyondprop.experiment.spec import CompareSpec
from beyondprop.experiment.storage import SPEC, check_claim, read_spec
from beyondprop.experiment.summary import score_interval
from beyondprop.files import finite, write_bytes, write_json
from beyondprop.jobs import SERIAL, Workers
from beyondprop.jobs.lock import held
from beyondprop.registry import Spec, file_name, label

COMPARISONS = "comparisons.json"
SCHEMA = 1
TASKS = "tasks"


def compare_tasks(
    spec: CompareSpec,
    named: Sequence[Spec],
    output: Path,
    resume: bool = False,
    progress: Progress | None = None,
    workers: Workers = SERIAL,
) -> dict[str, Any]:
    """Compare the same rules from the same seeds on several tasks, one task after the other.

    The folder holds one folder a task, each as `compare` leaves it, and, when all is done,
    `comparisons.json`: every rule's score and recovery on every task.

    Args:
        spec: What to compare; its own task is not used. What it leaves open each task decides.
        named: The tasks.
        output: The folder.
        resume: Continue what the folder holds. Tasks, rules and seeds that it does not hold yet
            are added to those that it does.
        progress: Bars to draw on; by default own ones, on the terminal.
        workers: Who trains.

    Returns:
        `comparisons`, each task's record by its label, and the `rows` of `comparisons.json`.

    Raises:
        UserError: No task or two of one name, or as `compare`.
    """
    spec, output, resume = entered(CompareSpec, spec, output, resume)
    with held(output):  # before anything in it is read: another process may add to it
        spec, named = claimed(spec, named, output, resume)
        write_bytes(output / RECIPE, recipe(as_json(spec, named)).encode())
        return compared_tasks(spec, named, output, resume, progress, workers)


def claimed(
    spec: CompareSpec, named: Sequence[Spec], output: Path, resume: bool
) -> tuple[CompareSpec, list[Spec]]:
    """Return what a folder is to hold, with all that it holds where it is resumed, and write it.

    Args:
        spec: What to compare; its own task is not used.
        named: The tasks.
        output: The folder, which this process holds.
        resume: Continue what the folder holds.

    Returns:
        The spec with its rules and seeds, and the tasks; where the folder is resumed, those that it
        holds come first.

    Raises:
        UserError: No task or two of one name, a task that is unknown, or the folder holds something
            else.
        StorageError: The folder's spec cannot be read or written.
    """
    if resume:
        named = list(dict(keyed((*tasks_in(output), *named))).values())
        spec = grown(spec, output)
    spec = replace(expanded(spec), rules=spec.rules_or_default, seeds=spec.seeds_or_default)
    if not named or len(set(folders(output, named).values())) < len(named):
        raise UserError("give at least one task, and none twice")
    for name in named:
        tasks.find(name)
    given = as_json(spec, named)
    check_claim(output, given, resume, (TASKS, *GROWS))
    write_json(output / SPEC, given)
    return spec, list(named)


def compared_tasks(
    spec: CompareSpec,
    named: Sequence[Spec],
    output: Path,
    resume: bool,
    progress: Progress | None,
    workers: Workers,
) -> dict[str, Any]:
    """Return the comparisons of a claimed folder, and write what they have in common.

    Args:
        spec: What to compare, as `claimed` returns it.
        named: The tasks, likewise.
        output: The folder.
        resume: Continue what the folder holds.
        progress: Bars to draw on; by default own ones, on the terminal.
        workers: Who trains.

    Returns:
        As `compare_tasks`.

    Raises:
        UserError: As `compare`.
        StorageError: A folder's files cannot be read or written.
    """
    places = folders(output, named)
    made = {
        name: compare(replace(spec, task=task), places[name], resume, None, progress, workers)
        for name, task in keyed(named)
    }
    rows = joint(made)
    kept = {"schema": SCHEMA, "kind": "comparisons", TASKS: list(named), "rows": rows}
    write_json(output / COMPARISONS, kept)
    return {"comparisons": made, "rows": rows}


def folders(output: Path, named: Sequence[Spec]) -> dict[str, Path]:
    """Return the folder of each task by its label."""
    return {name: output / file_name(name) for name, _ in keyed(named)}


def keyed(named: Sequence[Spec]) -> list[tuple[str, Spec]]:
    """Return tasks with their labels."""
    return [(label(name), name) for name in named]


def tasks_in(folder: Path) -> list[Spec]:
    """Return the tasks that a folder's comparison is on; of one on one task none.

    Raises:
        StorageError: The folder's spec cannot be read.
    """
    found = (read_spec(folder) or {}).get(TASKS)
    return found if isinstance(found, list) else []


def as_json(spec: CompareSpec, named: Sequence[Spec]) -> dict[str, Any]:
    """Return what `spec.json` keeps: what was given, as each task fills in what is left open."""
    kept: dict[str, Any] = finite(asdict(spec))
    del kept["task"], kept["projections"]
    return {TASKS: list(named)} | kept | {"data": None if spec.data is None else "given"}


def joint(comparisons: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one row a rule: its figures on each task."""
    names = dict.fromkeys(row["rule"] for each in comparisons.values() for row in each["rows"])
    return [
        {"rule": rule, "on": {task: on(each, rule) for task, each in comparisons.items()}}
        for rule in names
    ]


def on(comparison: Mapping[str, Any], rule: str) -> dict[str, Any] | None:
    """Return what a rule reached on one task; None where the comparison lacks the rule."""
    row = next((row for row in comparison["rows"] if row["rule"] == rule), None)
    if row is None:
        return None
    return {
        "score_mean": row["score_mean"],
        "score_interval": score_interval(row, comparison["runs"]),
        "search_edge": row.get("search_edge", False),
        "recovery": row["recovery"],
        "recovery_interval": row.get("recovery_interval"),
        "finished": row["finished"],
        "runs": row["runs"],
    }
