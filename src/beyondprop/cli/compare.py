"""`beyondprop compare`: rules x seeds."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import Namespace
from rich.console import Console

from beyondprop.cli.parser import Parser, spec_of
from beyondprop.errors import UserError
from beyondprop.experiment import CompareSpec, compare
from beyondprop.experiment.table import legend, table
from beyondprop.experiment.tuning import edge
from beyondprop.files import StorageError
from beyondprop.registry import file_name, label
from beyondprop.report import write

HELP = "Compare rules on a task: every rule gets the same seeds, steps and trials."


def parser() -> Parser:
    """Return the command's flags: those of `CompareSpec`, and the folder's."""
    made = Parser(
        description=f"{HELP} Ends with a table, a record and a report that opens in a browser.",
        epilog="Example: beyondprop compare --task digits-mlp --rules backprop dfa frozen "
        "--seeds 0 1 2",
    )
    made.add_spec(
        CompareSpec,
        output="The comparison's folder. Default: runs/compare-TASK.",
        resume="Continue what the folder holds; what is over is kept, what failed is tried again.",
    )
    return made


def run(arguments: Namespace) -> int:
    """Compare, show the table and write the report."""
    spec = spec_of(CompareSpec, arguments)
    output = arguments.output or Path("runs") / f"compare-{file_name(label(spec.task))}"
    comparison = compare(spec, output, arguments.resume)
    made = report(output)  # before anything is printed, which may fail
    console = Console(highlight=False, soft_wrap=True)
    console.print(table(comparison))
    console.print(legend(comparison))
    warning = edge(comparison["tuning"])
    if warning:
        console.print(warning)
    print(f"folder: {output}")
    print(made)
    return 0 if any(row["finished"] for row in comparison["rows"]) else 2


def report(folder: Path) -> str:
    """Write the report beside the record and say where, or what is missing to write it."""
    try:
        return f"report: {write([folder], folder / 'report.html')}"
    except StorageError:
        raise
    except UserError as missing:
        return f"no report: {missing}"
