"""`beyondprop modalities`: train sub-networks alone, then together, and compare methods."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import Namespace

from beyondprop.cli.pages import forewarn, report_of
from beyondprop.cli.parser import Parser, spec_of
from beyondprop.experiment.modal_spec import ModalitiesSpec
from beyondprop.jobs import Workers

HELP = "Train sub-networks of several modalities alone, then together, and compare methods."


def parser() -> Parser:
    """Return the command's flags: those of `ModalitiesSpec`, of workers and of the folder."""
    made = Parser(
        description=f"{HELP} For each seed, each modality's sub-network is trained alone until its "
        "own validation loss rises, then the fusion, then the whole network. The other methods are "
        "joint training from the start, Gradient-Blending, OGM-GE, MMPareto and UMT, all with "
        "equal computation, and the mean and the best of the single networks. The command writes a "
        "table, a record and a report that shows the weight of each modality.",
        epilog="Example: beyondprop modalities --task generated-ambiguous --seeds 0 1 2 --jobs 2",
    )
    made.add_spec(
        ModalitiesSpec,
        output="The comparison's folder. Default: runs/modalities-TASK-DIGEST, where the digest is "
        "computed from all settings except seeds.",
        resume="Continue the work in the folder: finished work is kept, and seeds are added.",
    )
    made.add_class_arguments(Workers, as_group=True)
    return made


def run(arguments: Namespace) -> int:
    """Train, write the report, and print the result of each method."""
    from rich.console import Console

    from beyondprop.cli.tables import show
    from beyondprop.experiment.modal_table import modal_table, notes
    from beyondprop.experiment.modaling import modalities_task

    spec, workers = spec_of(ModalitiesSpec, arguments), spec_of(Workers, arguments)
    output = arguments.output or Path("runs") / own_name(spec)
    forewarn()
    record = modalities_task(spec, output, arguments.resume, workers=workers)
    page = report_of(output)
    show(modal_table(record))
    console = Console(highlight=False, markup=False, soft_wrap=True)
    for sentence in notes(record):
        console.print(sentence)
    print(f"folder: {output}")
    print(page)
    return 0


def own_name(spec: ModalitiesSpec) -> str:
    """Return the default name of the folder."""
    from beyondprop.experiment.by_seed import plain
    from beyondprop.experiment.growing import folder_name

    fixed = {key: value for key, value in plain(spec).items() if key not in ("seeds", "threads")}
    return folder_name("modalities", spec.task, fixed)
