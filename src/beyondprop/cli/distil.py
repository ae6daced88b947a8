"""`beyondprop distil`: shrink a network piece by piece and assemble the smaller pieces."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from beyondprop.cli.pages import forewarn, report_of
from beyondprop.cli.parser import Parser, spec_of
from beyondprop.experiment.distil_spec import DistilSpec
from beyondprop.jobs import Workers

if TYPE_CHECKING:
    from beyondprop.neighbourhoods import Plan

HELP = "Shrink a network piece by piece, compared with distilling, pruning or training it whole."


def parser() -> Parser:
    """Return the command's flags: those of `DistilSpec`, of workers and of the folder."""
    made = Parser(
        description=f"{HELP} For each seed, backprop trains a teacher. For each of its "
        "neighbourhoods, candidate students learn separately from the teacher's inputs and outputs "
        "there. For each budget of operations, integer programming chooses the best students, "
        "which are assembled and trained together (healed). The same networks are also trained as "
        "a whole with equal computation. The command writes a table, a record and a report that "
        "shows the candidate chosen for each neighbourhood.",
        epilog="Example: beyondprop distil --task digits-conv --budgets 0.7 --seeds 0 "
        '--teacher_epochs 3 --blocks \'[["0", "1", "2", "3", "4"]]\'',
    )
    made.add_spec(
        DistilSpec,
        output="The distillation's folder. Default: runs/distil-TASK-DIGEST, where the digest is "
        "computed from all settings except seeds.",
        resume="Continue the work in the folder: finished work is kept, and seeds are added.",
    )
    made.add_argument(
        "--dry_run",
        action="store_true",
        help="Train nothing, but show each student's cost and which students can't be built.",
    )
    made.add_class_arguments(Workers, as_group=True)
    return made


def run(arguments: Namespace) -> int:
    """Distil, write the report, and print the result of each method."""
    from rich.console import Console

    from beyondprop.cli.tables import show
    from beyondprop.experiment.distil_table import distil_table, notes
    from beyondprop.experiment.distilling import distil_task, plan_task

    spec, workers = spec_of(DistilSpec, arguments), spec_of(Workers, arguments)
    if arguments.dry_run:
        return show_plan(plan_task(spec), workers.jobs or 1)
    output = arguments.output or Path("runs") / own_name(spec)
    forewarn()
    record = distil_task(spec, output, arguments.resume, workers=workers)
    page = report_of(output)
    show(distil_table(record))
    console = Console(highlight=False, markup=False, soft_wrap=True)
    for sentence in notes(record):
        console.print(sentence)
    print(f"folder: {output}")
    print(page)
    return 0


def show_plan(plan: Plan, workers: int) -> int:
    """Print the plan; return the exit code."""
    from rich.console import Console

    from beyondprop.cli.tables import show
    from beyondprop.experiment.distil_table import plan_notes, plan_table

    show(plan_table(plan))
    console = Console(highlight=False, markup=False, soft_wrap=True)
    for sentence in plan_notes(plan, workers):
        console.print(sentence)
    return 0


def own_name(spec: DistilSpec) -> str:
    """Return the default name of the folder."""
    from beyondprop.experiment.by_seed import plain
    from beyondprop.experiment.growing import folder_name

    fixed = {key: value for key, value in plain(spec).items() if key not in ("seeds", "threads")}
    return folder_name("distil", spec.task, fixed)
