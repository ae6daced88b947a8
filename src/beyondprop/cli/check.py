"""`beyondprop check`: whether a rule can teach a model."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import Namespace

from beyondprop.cli.parser import Parser
from beyondprop.registry import Spec

HELP = "Check without training whether a rule can teach a model, and what it would change."
RULE = "A rule's name, or your own as my.module:rule; with arguments {rule: NAME, ARGUMENT: VALUE}."
SAMPLES = 32
"""Default batch size. More samples are not needed to check the shapes that reach a block."""


PORTS = {
    "output": "Name of the module whose output carries the error. Default: the model's own output.",
    "targets": "Name of the model's argument that holds targets, such as labels.",
    "samples": "Name of the model's argument that gives the graph of each node.",
}
"""Arguments of `attach` that name modules of a model or arguments of its call."""


def parser() -> Parser:
    """Return the command's model, rule, blocks and batch."""
    made = Parser(
        description=f"{HELP} It attaches the rule and runs one batch forward and backward: "
        "data of a task, the batch that --batch names, or random numbers of the shape --input. "
        "Nothing is trained. If the rule cannot be attached or the batch cannot be run, it reports "
        "the reason and exits with code 2.",
        epilog="Example: beyondprop check my.module:Model --rule dfa --blocks stem 'layers.*' head "
        "--input 8 3 32 32 --classes 10",
    )
    made.add_argument(
        "model",
        type=str,
        metavar="MODEL",
        help="my.module:Model (a module, or a function that builds one), or a task's name.",
    )
    made.add_argument("--rule", type=Spec, default="dfa", help=RULE)
    made.add_argument(
        "--blocks",
        type=tuple[str, ...] | None,
        default=None,
        help="Module names or patterns that define the blocks. Default: one block per layer.",
    )
    made.add_argument(
        "--batch_size",
        type=int | None,
        default=None,
        help=f"Number of samples of the task's data. Default: {SAMPLES}.",
    )
    made.add_argument("--data", type=Path | None, default=None, help="The task's data folder.")
    made.add_argument(
        "--input",
        type=tuple[int, ...] | None,
        default=None,
        help="For a model: the shape of a batch of random numbers, samples first: 8 3 32 32.",
    )
    made.add_argument(
        "--batch",
        type=str | None,
        default=None,
        metavar="my.module:batch",
        help="For a model: its inputs, or a function that returns them: one argument, several in a "
        "tuple, or arguments by name in a dictionary.",
    )
    made.add_argument(
        "--axes",
        type=str | dict[str, str] | None,
        default=None,
        help="Names of the output axes, for all blocks or by pattern: "
        "'{encoder.*: batch source features}'.",
    )
    for name, what in PORTS.items():
        made.add_argument(f"--{name}", type=str | None, default=None, help=what)
    made.add_argument(
        "--shift",
        type=int | None,
        default=None,
        help="Number of tokens by which the targets in the model's loss are shifted.",
    )
    made.add_argument(
        "--classes",
        type=int | None,
        default=None,
        help="With --input: number of classes from which to draw random targets, for "
        "cross-entropy. Default: no targets; the loss is the mean square of the outputs.",
    )
    return made


def run(arguments: Namespace) -> int:
    """Attach the rule, and print what it changed and the result of one batch."""
    from beyondprop.cli.checking import check

    return check(arguments, PORTS, SAMPLES)
