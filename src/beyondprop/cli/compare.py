"""`beyondprop compare`: rules x seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from beyondprop.cli.pages import forewarn, report_of
from beyondprop.cli.parser import Parser, spec_of
from beyondprop.errors import UserError
from beyondprop.experiment.spec import CompareSpec
from beyondprop.jobs import Workers
from beyondprop.registry import Spec

HELP = "Compare rules on a task: every rule gets the same seeds, steps and search budget."


def parser() -> Parser:
    """Return the command's flags: those of `CompareSpec`, of workers and of the folder."""
    made = Parser(
        description=f"{HELP} The command writes a table, a record and a report for the browser. To "
        "extend a comparison, use --resume: --output FOLDER --resume --rules fa adds a rule, "
        "--output FOLDER --resume --seeds 3 4 adds two seeds, and only these are trained. --tasks "
        "compares on several tasks, --projections with several projections. --jobs 2 trains on two "
        "cores, --cluster on many machines (see docs/experiments.md).",
        epilog="Example: beyondprop compare --task digits-mlp --rules backprop dfa frozen "
        "--seeds 0 1 2 --jobs 2",
    )
    made.add_spec(
        CompareSpec,
        output="The comparison's folder. Default: runs/compare-TASK-DIGEST, where the digest is "
        "computed from all settings except rules, projections, seeds and tasks.",
        resume="Continue the work in the folder: finished runs are kept, failed ones are repeated, "
        "and missing rules, projections, seeds and tasks are added.",
    )
    made.add_argument(
        "--tasks",
        type=tuple[Spec, ...] | None,
        default=None,
        help="Several tasks in one comparison, instead of --task. Settings that you leave out come "
        "from each task. Tasks added to a resumed folder get its rules and seeds.",
    )
    made.add_class_arguments(Workers, as_group=True)
    return made


def run(arguments: Namespace) -> int:
    """Compare, show the tables and write the report."""
    from beyondprop.experiment.comparison import compare
    from beyondprop.experiment.growing import own_name
    from beyondprop.experiment.linear import LINEAR
    from beyondprop.experiment.several import compare_tasks

    spec, workers = spec_of(CompareSpec, arguments), spec_of(Workers, arguments)
    tasks = tasks_of(spec, arguments)
    named = spec if tasks is None else replace(spec, task="tasks")  # tasks can be added later
    output = arguments.output or Path("runs") / own_name(named)
    forewarn()
    rows = []
    if tasks is None:
        comparisons = [compare(spec, output, arguments.resume, workers=workers)]
    else:
        made = compare_tasks(spec, tasks, output, arguments.resume, workers=workers)
        comparisons, rows = list(made["comparisons"].values()), made["rows"]
    page = report_of(output)  # before printing, which may fail
    show(comparisons, rows)
    print(f"folder: {output}")
    print(page)
    made_rows = [row for each in comparisons for row in each["rows"] if row["rule"] != LINEAR]
    return 0 if any(row["finished"] for row in made_rows) else 2


def tasks_of(spec: CompareSpec, arguments: Namespace) -> tuple[Spec, ...] | None:
    """Return the tasks to add to those of a resumed folder; None for a comparison on one task.

    Raises:
        UserError: Both one task and several are given.
    """
    from beyondprop.experiment.several import tasks_in

    resumed = arguments.resume and arguments.output and tasks_in(arguments.output)
    if arguments.tasks is None and not resumed:
        return None
    if spec.task != CompareSpec.task:
        raise UserError(f"the comparison is on several tasks: add {spec.task} by --tasks")
    return tuple(arguments.tasks or ())


def show(comparisons: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> None:
    """Print each comparison, then the table over all tasks if there are several."""
    from rich.console import Console

    from beyondprop.experiment.joint_table import LEGEND, joint_table
    from beyondprop.experiment.table import legend, table
    from beyondprop.experiment.tuning import edge

    console = Console(highlight=False, markup=False, soft_wrap=True)
    for comparison in comparisons:
        console.print(table(comparison))
        console.print(legend(comparison))
        warning = edge(comparison["tuning"])
        if warning:
            console.print(warning)
    if rows:
        console.print("", joint_table(rows), LEGEND, sep="\n")
