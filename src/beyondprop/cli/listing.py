"""`beyondprop list`: the names of rules, tasks and other objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from jsonargparse import Namespace

from beyondprop.cli.parser import Parser
from beyondprop.errors import UserError
from beyondprop.registry import Registry, dotted, first_line
from beyondprop.registry.arguments import parameters
from beyondprop.text import aligned, did_you_mean

HELP = "List rules, tasks, projections, optimizers, measures, audits, schedules and devices."
WITHIN = ("objective",)
"""Kinds of objects that are arguments of rules and have no separate list."""


def parser() -> Parser:
    """Return the command's parser."""
    made = Parser(
        description=f"{HELP} With names: a description of each, and its arguments.",
        epilog="Example: beyondprop list dfa hadamard",
    )
    made.add_argument(
        "names",
        nargs="*",
        type=str,
        metavar="NAME",
        help="One of the listed names, or my.module:attribute.",
    )
    return made


def run(arguments: Namespace) -> int:
    """Print the lists, or the details of the given names."""
    if arguments.names:
        known = registries()
        print("\n".join(details(name, known) for name in arguments.names))
    else:
        print("\n\n".join(section(title, lines) for title, lines in lists().items()))
    return 0


def registries() -> Sequence[Registry[Any]]:
    """Return the registries in which names are looked up."""
    from beyondprop.audit import SECTIONS
    from beyondprop.measure import MEASURES
    from beyondprop.optics import PROCESSORS
    from beyondprop.projections import PROJECTIONS
    from beyondprop.rules import OBJECTIVES, RULES
    from beyondprop.tasks import OPTIMIZERS, TASKS

    return (RULES, TASKS, PROJECTIONS, OBJECTIVES, OPTIMIZERS, MEASURES, SECTIONS, PROCESSORS)


def lists() -> dict[str, dict[str, str]]:
    """Return the lists by title, with a line for each name."""
    from beyondprop._torch.devices import devices
    from beyondprop.experiment.schedules import SCHEDULES

    named = {
        f"{each.kind}s": {name: each.describe(name) for name in each}
        for each in registries()
        if each.kind not in WITHIN
    }
    return named | {
        "schedules": {name: each.summary for name, each in SCHEDULES.items()},
        "devices": devices() | {"opu": "a photonic co-processor, simulated: beyondprop project"},
    }


def section(title: str, lines: Mapping[str, str]) -> str:
    """Return one list: a title, then a name and its line in columns."""
    return "\n".join([title, *aligned(list(lines.items()), indent=2)])


def details(name: str, known: Sequence[Registry[Any]]) -> str:
    """Return the description and the arguments of a name, in each registry that has it.

    Args:
        name: The name.
        known: The registries.

    Raises:
        UserError: No registry has it.
    """
    found = [registry for registry in known if holds(registry, name)]
    if not found and ":" in name:  # a function, whose result is unknown without a call
        function = dotted.resolve(name)
        if not callable(function):
            kinds = ", ".join(registry.kind for registry in known)
            raise UserError(f"{name} is a {type(function).__name__}, and none of these: {kinds}")
        return shown(name, first_line(function), list(parameters(function) or ()))
    if not found:
        raise UserError(
            f"there is no {name!r} among the {', '.join(r.kind + 's' for r in known)}: "
            f"beyondprop list shows them{did_you_mean(name, chain.from_iterable(known))}"
        )
    return "\n".join(
        shown(f"{each.kind} {name}", each.describe(name), each.arguments(name)) for each in found
    )


def shown(title: str, line: str, arguments: Sequence[str]) -> str:
    """Return the text of a title, a description and arguments."""
    return f"{title}: {line}\n  arguments: {', '.join(arguments) or 'none'}"


def holds(registry: Registry[Any], name: str) -> bool:
    """Whether a registry has a name, or a dotted name is a class or object of its kind.

    Raises:
        UserError: There is no such module or attribute.
    """
    if ":" not in name:
        return name in registry
    found = dotted.resolve(name)
    if isinstance(found, type):
        return issubclass(found, registry.base)
    return isinstance(found, registry.base)
