"""Comparisons on several tasks: one folder that contains an ordinary comparison for each."""

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
from beyondprop.experiment.storage import SPEC, check_claim, occupied, read_spec
from beyondprop.experiment.summary import score_interval
from beyondprop.files import finite, write_bytes, write_json
from beyondprop.jobs import SERIAL, Workers
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
    """Compare the same rules with the same seeds on several tasks, one task after the other.

    The folder contains one folder for each task, as `compare` writes it, and at the end
    `comparisons.json`: every rule's score and recovery on every task.

    Args:
        spec: Settings of the comparison; its task is not used. Settings that it leaves open are
            each task's defaults.
        named: The tasks.
        output: Folder for the results.
        resume: Continue the comparison in the folder. Tasks, rules and seeds that it does not
            contain yet are added.
        progress: Progress bars to draw on. Default: new ones on the terminal.
        workers: Workers that train.

    Returns:
        `comparisons`, each task's record by its label, and the `rows` of `comparisons.json`.

    Raises:
        UserError: There is no task, two have the same name, or for the reasons of `compare`.
    """
    spec, output, resume = entered(CompareSpec, spec, output, resume)
    with occupied(output):  # before anything in it is read: another process may add to it
        spec, named = claimed(spec, named, output, resume)
        write_bytes(output / RECIPE, recipe(as_json(spec, named)).encode())
        return compared_tasks(spec, named, output, resume, progress, workers)


def claimed(
    spec: CompareSpec, named: Sequence[Spec], output: Path, resume: bool
) -> tuple[CompareSpec, list[Spec]]:
    """Claim a folder: write the spec of its comparisons, with earlier ones if it is resumed.

    Args:
        spec: Settings of the comparison; its task is not used.
        named: The tasks.
        output: The folder, which this process has locked.
        resume: Continue the comparison in the folder.

    Returns:
        The spec with its rules and seeds, and the tasks. Those of a resumed folder come first.

    Raises:
        UserError: There is no task, two have the same name, one is unknown, or the folder contains
            something else.
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
    """Return the comparisons in a claimed folder, and write their joint record.

    Args:
        spec: Settings of the comparison, from `claimed`.
        named: The tasks, from `claimed`.
        output: Folder for the results.
        resume: Continue the comparison in the folder.
        progress: Progress bars to draw on. Default: new ones on the terminal.
        workers: Workers that train.

    Returns:
        The result of `compare_tasks`.

    Raises:
        UserError: For the reasons of `compare`.
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
    """Return the tasks of a folder's comparison on several tasks; none for other folders.

    Raises:
        StorageError: The folder's spec cannot be read.
    """
    found = (read_spec(folder) or {}).get(TASKS)
    return found if isinstance(found, list) else []


def as_json(spec: CompareSpec, named: Sequence[Spec]) -> dict[str, Any]:
    """Return the content of `spec.json`: the given settings, without the tasks' defaults."""
    kept: dict[str, Any] = finite(asdict(spec))
    del kept["task"], kept["projections"]
    return {TASKS: list(named)} | kept | {"data": None if spec.data is None else "given"}


def joint(comparisons: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one row for each rule, with its figures on each task."""
    names = dict.fromkeys(row["rule"] for each in comparisons.values() for row in each["rows"])
    return [
        {"rule": rule, "on": {task: on(each, rule) for task, each in comparisons.items()}}
        for rule in names
    ]


def on(comparison: Mapping[str, Any], rule: str) -> dict[str, Any] | None:
    """Return a rule's figures on one task; None if the comparison does not have the rule."""
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
