"""Scaling studies: the same rules on a family of networks and data sizes, and their power laws."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress

from beyondprop import tasks
from beyondprop.errors import UserError
from beyondprop.experiment.entry import entered
from beyondprop.experiment.laws import (
    Law,
    Points,
    common,
    costs,
    difference,
    law,
    offset,
    overlap,
    ratios,
)
from beyondprop.experiment.plan import plan_compare
from beyondprop.experiment.provenance import provenance
from beyondprop.experiment.recipe import RECIPE, recipe
from beyondprop.experiment.several import TASKS, claimed, compared_tasks, keyed, tasks_in
from beyondprop.experiment.sizes import SIZE_NAMES, Sizes
from beyondprop.experiment.spec import CompareSpec
from beyondprop.experiment.statistics import Interval
from beyondprop.experiment.step_cost import training_operations
from beyondprop.experiment.storage import occupied, read_spec
from beyondprop.experiment.summary import FROZEN, LINEAR, LOWER, UPPER
from beyondprop.files import finite, write_bytes, write_json
from beyondprop.jobs import SERIAL, Workers
from beyondprop.registry import Spec, label, read

SCALING = "scaling.json"
SCHEMA = 1
AXES = ("parameters", "samples", "operations", "seconds")
"""Quantities along which a loss may fall."""
MEANINGLESS = {
    "parameters": (LINEAR,),
    "operations": (LINEAR, FROZEN),
    "seconds": (LINEAR, FROZEN),
}
"""Controls without a law along an axis."""
PLACES = 9
"""Number of places at which two laws are compared over their common range."""


def scale(
    spec: CompareSpec,
    sizes: Sizes,
    output: Path,
    resume: bool = False,
    progress: Progress | None = None,
    workers: Workers = SERIAL,
) -> dict[str, Any]:
    """Compare rules on every member of a family, and fit power laws to their losses.

    The folder has the contents of a comparison on several tasks, in which each member is a task
    with a search for every rule, and in addition `scaling.json`.

    Args:
        spec: Settings of the comparison; the task is the family, a function of ``width``, ``depth``
            and ``samples``.
        sizes: The members' sizes.
        output: Folder for the results.
        resume: Continue the study in the folder. Sizes, rules and seeds that it does not contain
            yet are added.
        progress: Progress bars to draw on. Default: new ones on the terminal.
        workers: Workers that train.

    Returns:
        The content of `scaling.json`: `members`, the task of each size by its name; `runs`, one
        entry for each size, rule and seed; `laws`; `against`, how each rule's laws differ from
        backprop's; and `provenance`, the command that completed the study, the machine and the
        time.

    Raises:
        UserError: Epochs are given with several numbers of samples, or for the reasons of
            `compare_tasks`.
    """
    spec, output, resume = entered(CompareSpec, spec, output, resume)
    started = datetime.now(UTC)
    if spec.epochs is not None and len(sizes.samples or ()) > 1:
        raise UserError(
            "epochs= can't be combined with several numbers of samples: leave it out, and each "
            "number of samples gets the epochs that give about the same number of steps"
        )
    with occupied(output):  # before anything in it is read: another process may add to it
        asked = members(spec.task, sizes, output, resume)
        claim, tasks_of = claimed(spec, asked, output, resume)
        write_recipe(spec.task, output)
        made = compared_tasks(claim, tasks_of, output, resume, progress, workers)
        named = dict(keyed(tasks_of))
        runs = [
            run
            for name, comparison in made["comparisons"].items()
            for run in measured(claim, named[name], name, comparison)
        ]
        record = {
            "schema": SCHEMA,
            "kind": "scaling",
            "family": spec.task,
            "members": named,
            **studied(runs),
        }
        kept: dict[str, Any] = finite(record | {"provenance": provenance(started)})
        write_json(output / SCALING, kept)
    return kept


def members(family: Spec, sizes: Sizes, folder: Path, resume: bool) -> list[Spec]:
    """Return the requested tasks of a study; none if a study is only continued.

    Raises:
        UserError: The folder contains the study of another family.
    """
    own = read(family, "task", "task")
    held = tasks_in(folder) if resume else []
    for each in held:
        found = read(each, "task", "task")
        given = {key: found.arguments[key] for key in found.arguments if key not in SIZE_NAMES}
        if (found.name, given) != (own.name, dict(own.arguments)):
            raise UserError(
                f"{folder} contains a study of {label(each)}, not of {label(family)}: choose "
                "another output=, or name that family"
            )
    if held and not any(asdict(sizes).values()):
        return []
    return list(sizes.members(family))


def write_recipe(family: Spec, folder: Path) -> None:
    """Write a study's settings for `beyondprop scale --config`, instead of a comparison's."""
    held = read_spec(folder)
    if held is None:
        return
    given = [arguments(each) for each in tasks_in(folder)]
    sizes = {
        plural: sorted({each[key] for each in given if key in each})
        for key, plural in SIZE_NAMES.items()
        if any(key in each for each in given)
    }
    rest = {key: value for key, value in held.items() if key != TASKS}
    text = recipe({"task": family} | sizes | rest, "scale")
    write_bytes(folder / RECIPE, text.encode())


def arguments(named: Spec) -> Mapping[str, Any]:
    """Return the arguments in a task's spec."""
    return read(named, "task", "task").arguments


def measured(
    spec: CompareSpec, named: Spec, label: str, comparison: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return the size, the cost and the loss of each run of one member."""
    task = tasks.find(named)
    rules = tuple(row["rule"] for row in comparison["rows"] if row["rule"] not in LOWER)
    plan = plan_compare(replace(spec, rules=comparison["spec"]["rules"], task=named), task, named)
    edges = {row["rule"] for row in comparison["rows"] if row.get("search_edge")}
    operations = training_operations(plan, task, [rule for rule in rules if rule in plan.names])
    return [
        {
            "size": label,
            "rule": run["rule"]["name"],
            "seed": run["seed"],
            "status": run["status"],
            "parameters": run["parameters"],
            "samples": comparison["task"]["train"],
            "operations": operations.get(run["rule"]["name"]),
            "seconds": sum(point["seconds"] for point in run["curve"]),
            "edge": run["rule"]["name"] in edges,
            "loss": (run["test"] or {}).get("loss"),
            "score": (run["test"] or {}).get("score"),
        }
        for run in comparison["runs"]
    ]


def studied(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the runs with their laws, and how each rule differs from backprop."""
    rules = list(dict.fromkeys(run["rule"] for run in runs))
    found = {axis: {rule: points(runs, rule, axis) for rule in rules} for axis in AXES}
    return {
        "runs": list(runs),
        "laws": {
            axis: {rule: told(each) for rule, each in of.items() if each is not None}
            for axis, of in found.items()
        },
        "against": {
            axis: {
                rule: compared(each, above)
                for rule, each in of.items()
                if (above := of.get(UPPER)) is not None and rule != UPPER and each is not None
            }
            for axis, of in found.items()
        },
    }


def along(runs: Sequence[Mapping[str, Any]], rule: str, axis: str) -> list[Mapping[str, Any]]:
    """Return the finished runs of a rule to which its law along an axis is fitted.

    Along ``samples`` these are the runs of the largest network, along the other axes those with the
    largest number of samples. The linear model is the same at every size, and the training steps of
    ``frozen`` have no meaningful time or operations.
    """
    if rule in MEANINGLESS.get(axis, ()):
        return []
    held = "parameters" if axis == "samples" else "samples"
    made = [run for run in runs if run["rule"] == rule and run[held]]
    most = max((run[held] for run in made), default=None)
    return [run for run in made if run[held] == most and run["loss"] is not None and run[axis]]


def points(runs: Sequence[Mapping[str, Any]], rule: str, axis: str) -> Points | str | None:
    """Return a rule's losses along an axis, or the reason why they have no law.

    None if the rule has no runs along the axis.
    """
    own = along(runs, rule, axis)
    if not own:
        return None
    if (least := min(run["loss"] for run in own)) <= 0:
        return f"a loss of {least:g} has no logarithm: give the family a loss that is above zero"
    return Points(
        np.array([run[axis] for run in own], dtype=np.float64),
        np.array([run["loss"] for run in own], dtype=np.float64),
        tuple((run["size"], run["seed"]) for run in own),
    )


def told(found: Points | str) -> dict[str, Any]:
    """Return the law of points in the form of the record, or the reason why there is none."""
    fitted = found if isinstance(found, str) else law(found)
    if isinstance(found, str) or not isinstance(fitted, Law):
        return {"reason": fitted}
    return {
        "factor": fitted.factor,
        "exponent": as_list(fitted.exponent),
        "range": [fitted.low, fitted.high],
        "offset": as_list(offset(found)),
        "runs": len(found.units),
    }


def compared(own: Points | str, backprop: Points | str) -> dict[str, Any]:
    """Return how a rule's law differs from backprop's, or the reason why that is not known.

    Returns:
        `exponent`, the rule's minus backprop's; `places`, points of their common range; `ratios`,
        the rule's loss divided by backprop's at these; `costs`, the ratio of the rule's place on
        the axis to backprop's at the same loss; `gap`, see `gap`; and `ahead`, whether the rule's
        loss is below backprop's, see `ahead`.
    """
    if isinstance(own, str) or isinstance(backprop, str):
        return {"reason": own if isinstance(own, str) else str(backprop)}
    both = common(own, backprop)
    between = overlap(*both) if both[0].units else None
    gained = difference(own, backprop) if both[0].units else "they have no runs in common"
    if isinstance(gained, str):
        return {"reason": gained}
    if between is None:
        return {"exponent": as_list(gained), "reason": "their ranges do not overlap"}
    places = np.geomspace(*between, PLACES).tolist()
    quotients, prices = ratios(own, backprop, places), costs(own, backprop, places)
    assert not isinstance(quotients, str)
    assert not isinstance(prices, str)
    return {
        "exponent": as_list(gained),
        "places": places,
        "ratios": [as_list(each) for each in quotients],
        "costs": [as_list(each) for each in prices],
        "gap": gap(gained, quotients),
        "ahead": ahead(quotients),
    }


def gap(exponent: Interval, quotients: Sequence[Interval]) -> str:
    """Return how the ratio of the losses moves relative to one along the axis.

    The result is "closes" (towards one), "opens" (away from one), "crosses" (it passes one) or
    "not resolved".
    """
    if not exponent.excludes_zero:
        return "not resolved"
    first, last = (quotients[i].value > 1 for i in (0, -1))
    if first != last:
        return "crosses"
    return "closes" if (exponent.value > 0) == first else "opens"


def ahead(quotients: Iterable[Interval]) -> str:
    """Return whether a rule's loss is below backprop's: "somewhere", "never" or "not resolved"."""
    intervals = list(quotients)
    if any(each.high < 1 for each in intervals):
        return "somewhere"
    return "never" if all(each.low > 1 for each in intervals) else "not resolved"


def as_list(found: Interval | None) -> list[float] | None:
    """Return an interval in the form of the record: value, low, high."""
    return None if found is None else [found.value, found.low, found.high]
