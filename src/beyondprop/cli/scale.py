"""`beyondprop scale`: rules x sizes x seeds, and the laws by which losses fall."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import Namespace

from beyondprop.cli.pages import forewarn, told_of
from beyondprop.cli.parser import Parser, spec_of
from beyondprop.experiment.sizes import Sizes
from beyondprop.experiment.spec import CompareSpec
from beyondprop.jobs import Workers

HELP = "Train a family of networks by several rules, and fit how their losses fall with size."


def parser() -> Parser:
    """Return the command's flags: those of `CompareSpec` and of the sizes, and the folder's."""
    made = Parser(
        description=f"{HELP} --task names the family: one called scaled-... in `beyondprop list`, "
        "or your own as my.module:function of width, depth and samples. Every size is a comparison "
        "with its own search for every rule. With --resume it grows: --widths 512 adds a size.",
        epilog="Example: beyondprop scale --task scaled-fashion-small --widths 8 16 32 64 128 "
        "--rules backprop dfa fa dgl --seeds 0 1 2 --jobs 2",
    )
    made.add_spec(
        CompareSpec,
        output="The study's folder. Default: runs/scale-TASK-DIGEST, where the digest is one of "
        "all settings but rules, projections, seeds and sizes.",
        resume="Continue what the folder holds; what is over is kept, and sizes, rules and seeds "
        "that the folder lacks are added.",
    )
    made.add_class_arguments(Sizes, as_group=True)
    made.add_class_arguments(Workers, as_group=True)
    return made


def run(arguments: Namespace) -> int:
    """Train, fit, and say how each rule's losses fall beside backprop's."""
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
