"""`beyondprop list`: what there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jsonargparse import Namespace

from beyondprop.audit import SECTIONS
from beyondprop.cli.parser import Parser
from beyondprop.errors import UserError
from beyondprop.measure import MEASURES
from beyondprop.projections import PROJECTIONS
from beyondprop.registry import Registry, dotted, first_line
from beyondprop.registry.arguments import parameters
from beyondprop.rules import OBJECTIVES, RULES
from beyondprop.tasks import OPTIMIZERS, TASKS
from beyondprop.text import aligned

HELP = "List rules, tasks, projections, optimizers, measures and sections of audits."

REGISTRIES: tuple[Registry[Any], ...] = (
    RULES,
    TASKS,
    PROJECTIONS,
    OBJECTIVES,
    OPTIMIZERS,
    MEASURES,
    SECTIONS,
)


def parser() -> Parser:
    """Return the command's names."""
    made = Parser(
        description=f"{HELP} With names: what each of them is, and its arguments.",
        epilog="Example: beyondprop list dfa hadamard",
    )
    made.add_argument(
        "names", nargs="*", type=str, metavar="NAME", help="One of them, or my.module:attribute."
    )
    return made


def run(arguments: Namespace) -> int:
    """Print the lists, or what is known of the names."""
    if arguments.names:
        print("\n".join(details(name) for name in arguments.names))
        return 0
    lists = {
        f"{registry.kind}s": {name: registry.describe(name) for name in registry}
        for registry in (RULES, TASKS, PROJECTIONS, OPTIMIZERS, MEASURES, SECTIONS)
    }
    print("\n\n".join(section(title, lines) for title, lines in lists.items()))
    return 0


def section(title: str, lines: Mapping[str, str]) -> str:
    """Return one list: a title, then a name and its line in columns."""
    return "\n".join([title, *aligned(list(lines.items()), indent=2)])


def details(name: str) -> str:
    """Return what a thing is, in each registry that has it, and its arguments.

    Raises:
        UserError: No registry has it.
    """
    found = [registry for registry in REGISTRIES if holds(registry, name)]
    if not found and ":" in name:  # a function: only calling it would tell what it returns
        function = dotted.resolve(name)
        if not callable(function):
            kinds = ", ".join(registry.kind for registry in REGISTRIES)
            raise UserError(f"{name} is a {type(function).__name__}, and none of these: {kinds}")
        return shown(name, first_line(function), list(parameters(function) or ()))
    if not found:
        raise UserError(
            f"there is no {name!r} among the {', '.join(r.kind + 's' for r in REGISTRIES)}: "
            "beyondprop list shows them"
        )
    return "\n".join(
        shown(f"{each.kind} {name}", each.describe(name), each.arguments(name)) for each in found
    )


def shown(title: str, line: str, arguments: Sequence[str]) -> str:
    """Return a thing's line and its arguments."""
    return f"{title}: {line}\n  arguments: {', '.join(arguments) or 'none'}"


def holds(registry: Registry[Any], name: str) -> bool:
    """Whether a name is one of a registry's, or leads to a thing (or function) of its kind.

    Raises:
        UserError: There is no such module or attribute.
    """
    if ":" not in name:
        return name in registry
    found = dotted.resolve(name)
    if isinstance(found, type):
        return issubclass(found, registry.base)
    return isinstance(found, registry.base)
