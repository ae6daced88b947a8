"""`beyondprop scale`: rules x sizes x seeds, and fitted scaling laws."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import Namespace

from beyondprop.cli.pages import forewarn, told_of
from beyondprop.cli.parser import Parser, spec_of
from beyondprop.experiment.sizes import Sizes
from beyondprop.experiment.spec import CompareSpec
from beyondprop.jobs import Workers
from beyondprop.registry import Spec

HELP = "Train a family of networks by several rules, and fit power laws of loss against size."
FAMILY = (
    "The family of networks: a task whose name starts with scaled- (see `beyondprop list`), or "
    "your own function of width, depth and samples as my.module:function. Default: none; required."
)


def parser() -> Parser:
    """Return the command's flags: those of `CompareSpec`, sizes, workers and the folder."""
    made = Parser(
        description=f"{HELP} Every size is a comparison with its own learning-rate search for "
        "every rule. To extend a study, use --resume: --resume --widths 512 adds a size.",
        epilog="Example: beyondprop scale --task scaled-fashion-small --widths 8 16 32 64 128 "
        "--rules backprop dfa fa dgl --seeds 0 1 2 --jobs 2",
    )
    made.add_argument("--task", type=Spec, default=CompareSpec.task, help=FAMILY)
    made.add_spec(
        CompareSpec,
        output="The study's folder. Default: runs/scale-TASK-DIGEST, where the digest is computed "
        "from all settings except rules, projections, seeds and sizes.",
        resume="Continue the work in the folder: finished runs are kept, failed ones are repeated, "
        "and missing sizes, rules and seeds are added.",
        skip=("task",),
    )
    made.add_class_arguments(Sizes, as_group=True)
    made.add_class_arguments(Workers, as_group=True)
    return made


def run(arguments: Namespace) -> int:
    """Train, fit, and print how each rule's law compares with backprop's."""
    from rich.console import Console

    from beyondprop.cli.tables import show
    from beyondprop.experiment.growing import own_name
    from beyondprop.experiment.laws_table import answers, laws_table
    from beyondprop.experiment.scaling import scale
    from beyondprop.report import write_scaling

    spec, workers = spec_of(CompareSpec, arguments), spec_of(Workers, arguments)
    sizes = spec_of(Sizes, arguments)
    output = arguments.output or Path("runs") / own_name(spec, "scale")
    forewarn()
    found = scale(spec, sizes, output, arguments.resume, workers=workers)
    page = told_of(
        lambda: write_scaling(output, output / "scaling.html"),
        f"the same command with --output {output} --resume",
    )
    for axis in found["laws"]:
        table = laws_table(found, axis)
        if table is not None:
            show(table)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    for sentence in answers(found):
        console.print(sentence)
    print(f"folder: {output}")
    print(page)
    return 0 if any(run["status"] == "finished" for run in found["runs"]) else 2
