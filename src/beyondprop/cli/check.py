"""`beyondprop check`: can this rule teach this model?"""

from __future__ import annotations

from collections.abc import Callable

from jsonargparse import Namespace
from torch import nn

from beyondprop import rules, tasks
from beyondprop.cli.parser import Parser
from beyondprop.engine.attach import attach
from beyondprop.errors import UserError
from beyondprop.experiment.faults import fault_of_rule
from beyondprop.registry import Spec, dotted
from beyondprop.tasks import Task

HELP = "Check without training whether a rule can teach a model, and what it would change."
RULE = "A rule's name, or your own as my.module:rule; with arguments {rule: NAME, ARGUMENT: VALUE}."


def parser() -> Parser:
    """Return the command's model, rule and blocks."""
    made = Parser(
        description=f"{HELP} It runs no step; where the rule cannot be attached it says why and "
        "exits with code 2.",
        epilog="Example: beyondprop check my.module:Model --rule dfa --blocks stem 'layers.*' head",
    )
    made.add_argument(
        "model",
        type=str,
        metavar="MODEL",
        help="my.module:Model (a module, or what builds one without arguments), or a task's name.",
    )
    made.add_argument("--rule", type=Spec, default="dfa", help=RULE)
    made.add_argument(
        "--blocks",
        type=tuple[str, ...] | None,
        default=None,
        help="Module names or patterns that make the blocks. Default: one block a layer.",
    )
    return made


def run(arguments: Namespace) -> int:
    """Attach the rule and print what that changed."""
    model, blocks = find(arguments.model)
    rule = rules.make(arguments.rule)
    with fault_of_rule(rule):
        handle = attach(model, rule, blocks=arguments.blocks or blocks)
    print(handle.report)
    return 0


def find(name: str) -> tuple[nn.Module, tuple[str, ...] | None]:
    """Return the model of this name, and the blocks its task gives it.

    Raises:
        UserError: There is none.
    """
    found: object = dotted.resolve(name) if ":" in name else tasks.find(name)
    if callable(found) and not isinstance(found, nn.Module):
        found = built(found, name)
    blocks = None
    if isinstance(found, Task):
        blocks = tuple(found.blocks) if found.blocks else None
        found = built(found.model, name)
    if not isinstance(found, nn.Module):
        raise UserError(f"{name} is of type {type(found).__name__}, not a torch.nn.Module")
    return found, blocks


def built(make: Callable[[], object], name: str) -> object:
    """Return what a class or function makes.

    Raises:
        UserError: It fails.
    """
    try:
        return make()
    except Exception as error:  # whatever the user's model does when it is built
        raise UserError(f"building {name} failed: {dotted.one_line(error)}") from error
