"""`beyondprop audit`: forgetting, robustness, explanations and more of trained models."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import Namespace

from beyondprop.cli.pages import forewarn, report_of
from beyondprop.cli.parser import Parser, spec_of
from beyondprop.experiment.audit_spec import AuditSpec
from beyondprop.jobs import Workers

HELP = "Audit trained runs: forgetting, robustness, explanations, fairness, minima, calibration."


def parser() -> Parser:
    """Return the command's runs and flags: those of `AuditSpec`, of workers and of the folder."""
    made = Parser(
        description=f"{HELP} The runs are finished runs of `beyondprop train` or `beyondprop "
        "compare`, of one task. Include backprop and frozen, so that each rule is compared with "
        "both controls. The command writes a table, a record and a one-page report.",
        epilog="Example: beyondprop audit runs/compare-digits-mlp-1a2b3c4d --sections forgetting",
    )
    made.add_argument(
        "runs",
        nargs="+",
        type=Path,
        metavar="RUN",
        help="A folder written by `beyondprop train` or `beyondprop compare`.",
    )
    made.add_spec(
        AuditSpec,
        output="The audit's folder. Default: runs/audit-TASK-DIGEST, where the digest is computed "
        "from the runs' weights.",
        resume="Continue the work in the folder: finished sections are kept, and others are added. "
        "Name all runs again.",
    )
    made.add_class_arguments(Workers, as_group=True)
    return made


def run(arguments: Namespace) -> int:
    """Audit the runs, write the report, and print the result of each section."""
    from rich.console import Console

    from beyondprop.cli.tables import show
    from beyondprop.experiment.audit_table import audit_table, notes
    from beyondprop.experiment.auditing import audit, own_name

    spec, workers = spec_of(AuditSpec, arguments), spec_of(Workers, arguments)
    output = arguments.output or Path("runs") / own_name(arguments.runs)
    forewarn()
    record = audit(spec, arguments.runs, output, arguments.resume, workers=workers)
    page = report_of(output)
    show(audit_table(record))
    console = Console(highlight=False, markup=False, soft_wrap=True)
    for sentence in notes(record):
        console.print(sentence)
    print(f"folder: {output}")
    print(page)
    return 0
