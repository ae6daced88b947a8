"""`beyondprop compare`: rules x seeds."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import Namespace
from rich.console import Console

from beyondprop.cli.parser import Parser, spec_of
from beyondprop.errors import UserError
from beyondprop.experiment import CompareSpec, compare
from beyondprop.experiment.controls import LINEAR
from beyondprop.experiment.growing import own_name
from beyondprop.experiment.table import legend, table
from beyondprop.experiment.tuning import edge
from beyondprop.files import StorageError
from beyondprop.jobs import Workers
from beyondprop.report import write

HELP = "Compare rules on a task: every rule gets the same seeds, steps and trials."


def parser() -> Parser:
    """Return the command's flags: those of `CompareSpec`, and the folder's."""
    made = Parser(
        description=f"{HELP} Ends with a table, a record and a report that opens in a browser. "
        "With --resume a comparison grows: --output FOLDER --resume --rules fa adds a rule, "
        "--output FOLDER --resume --seeds 3 4 two seeds, and only those are trained. "
        "--jobs 2 trains on two cores, --cluster on many machines: see docs/experiments.md.",
        epilog="Example: beyondprop compare --task digits-mlp --rules backprop dfa frozen "
        "--seeds 0 1 2 --jobs 2",
    )
    made.add_spec(
        CompareSpec,
        output="The comparison's folder. Default: runs/compare-TASK-DIGEST, where the digest is "
        "one of all settings but rules and seeds.",
        resume="Continue what the folder holds; what is over is kept, what failed is tried again, "
        "and rules and seeds that the folder lacks are added.",
    )
    made.add_class_arguments(Workers, as_group=True)
    return made


def run(arguments: Namespace) -> int:
    """Compare, show the table and write the report."""
    spec = spec_of(CompareSpec, arguments)
    output = arguments.output or Path("runs") / own_name(spec)
    comparison = compare(spec, output, arguments.resume, workers=spec_of(Workers, arguments))
    made = report(output)  # before anything is printed, which may fail
    console = Console(highlight=False, soft_wrap=True)
    console.print(table(comparison))
    console.print(legend(comparison))
    warning = edge(comparison["tuning"])
    if warning:
        console.print(warning)
    print(f"folder: {output}")
    print(made)
    rules = [row for row in comparison["rows"] if row["rule"] != LINEAR]
    return 0 if any(row["finished"] for row in rules) else 2


def report(folder: Path) -> str:
    """Write the report beside the record and say where, or what is missing to write it."""
    try:
        return f"report: {write([folder], folder / 'report.html')}"
    except StorageError:
        raise
    except UserError as missing:
        return f"no report: {missing}"
