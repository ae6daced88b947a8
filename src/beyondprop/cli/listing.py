"""`beyondprop list`: the names of rules, tasks and other objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from inspect import Parameter, signature
from itertools import chain
from typing import Any

from jsonargparse import Namespace

from beyondprop.cli.parser import Parser
from beyondprop.errors import UserError
from beyondprop.registry import Registry, dotted, first_line
from beyondprop.text import aligned, did_you_mean

HELP = "List rules, tasks, projections, optimizers, measures, audits, schedules and devices."
WITHIN = ("objective",)
"""Kinds of objects that are arguments of rules and have no separate list."""
ANY = Parameter.VAR_KEYWORD
CALLED = {"section": "audit section"}
"""Kinds of objects with a more precise title than their kind."""
WITH_VALUES = ("projection", "photonic device")
"""Kinds of objects whose parts are shown with their values."""


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
        help="One of the listed names, a title such as rules, or my.module:attribute.",
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


def others() -> Sequence[Registry[Any]]:
    """Return the registries for arguments of single commands, which the lists leave out."""
    from beyondprop.continual.methods import METHODS
    from beyondprop.experiment.tracking import TRACKERS
    from beyondprop.modalities.balance import BALANCES
    from beyondprop.modalities.fusions import FUSIONS
    from beyondprop.neighbourhoods import CANDIDATES, DRAWS
    from beyondprop.optics import PROCESSORS
    from beyondprop.pieces.distances import DISTANCES

    given = (CANDIDATES, DISTANCES, DRAWS, FUSIONS, BALANCES, METHODS, TRACKERS)
    return (*PROCESSORS.parts, *given)


def lists() -> dict[str, dict[str, str]]:
    """Return the lists by title, with a line for each name."""
    named = {f"{called(each)}s": lines_of(each) for each in registries() if each.kind not in WITHIN}
    return named | plain_lists()


def sections() -> dict[str, tuple[str, dict[str, str]]]:
    """Return each list by what people call it: its title, or the plural of its kind."""
    kinds = {f"{each.kind}s": lines_of(each) for each in (*registries(), *others())}
    titled = kinds | lists()
    return {
        name: (title, lines)
        for title, lines in titled.items()
        for name in (title, title.replace(" ", "-"))
    }


def lines_of(registry: Registry[Any]) -> dict[str, str]:
    """Return a line for each name of a registry."""
    return {name: registry.describe(name) for name in (*registry, *registry.makers)}


def plain_lists() -> dict[str, dict[str, str]]:
    """Return the names that take no arguments, by title, with a line each."""
    from beyondprop._torch.devices import devices
    from beyondprop.experiment.schedules import SCHEDULES

    return {
        "schedules": {name: each.summary for name, each in SCHEDULES.items()},
        "devices": devices()
        | {"opu": "a simulated photonic co-processor, only for `beyondprop project`"},
    }


def called(registry: Registry[Any]) -> str:
    """Return the title of a registry's objects, in the singular."""
    return CALLED.get(registry.kind, registry.kind)


def section(title: str, lines: Mapping[str, str]) -> str:
    """Return one list: a title, then a name and its line in columns."""
    return "\n".join([title, *aligned(list(lines.items()), indent=2)])


def details(name: str, known: Sequence[Registry[Any]]) -> str:
    """Return the description and the arguments of a name, in each registry that has it; of a title,
    its list.

    Args:
        name: The name.
        known: The registries.

    Raises:
        UserError: No registry has it.
    """
    found = [registry for registry in known if holds(registry, name)]
    plain: list[str] = []
    if not found and ":" not in name:
        found = [registry for registry in others() if holds(registry, name)]
        plain = [
            f"{title.removesuffix('s')} {name}: {lines[name]}"
            for title, lines in plain_lists().items()
            if name in lines
        ]
    if not found and ":" in name:  # a function, whose result is unknown without a call
        function = dotted.resolve(name)
        kinds = ", ".join(called(registry) for registry in known)
        if isinstance(function, type) or not callable(function):
            what = "class" if isinstance(function, type) else type(function).__name__
            raise UserError(f"{name} is a {what}, but not one of these: {kinds}")
        text = shown(f"function {name}", first_line(function), arguments_of(function))
        return f"{text}\n  It is none of these itself, but may return one: {kinds}"
    if not found and not plain:
        titled = sections()
        if name in titled:
            return section(*titled[name])
        raise UserError(
            f"there is no {name!r} among the "
            f"{', '.join([*(called(each) + 's' for each in known), *plain_lists()])}: "
            f"beyondprop list shows them{did_you_mean(name, (*names(known), *titled))}"
        )
    told = []
    for each in found:
        told.append(shown(f"{called(each)} {name}", each.describe(name), named(each, name)))
        told += values(each.entry(name)) if each.kind in WITH_VALUES else ()
    return "\n".join([*told, *plain])


def names(known: Sequence[Registry[Any]]) -> Iterator[str]:
    """Yield every name that `details` can describe."""
    for each in (*known, *others()):
        yield from (*each, *each.makers)
    yield from chain.from_iterable(plain_lists().values())


def named(registry: Registry[Any], name: str) -> list[str]:
    """Return the names of the arguments; of a function with ``**keywords``, only the named."""
    maker = registry.makers.get(name)
    return registry.arguments(name) if maker is None else arguments_of(maker)


def arguments_of(function: Any) -> list[str]:
    """Return the named arguments of a function."""
    try:
        found = signature(function).parameters.values()
    except ValueError:  # a function in C without a signature
        return ["unknown"]
    return [each.name for each in found if each.kind != ANY]


def values(thing: Any, indent: str = "  ") -> Iterator[str]:
    """Yield the parts of an object with their values, a line each."""
    if isinstance(thing, type) and is_dataclass(thing):
        thing = thing()
    for field in fields(thing) if is_dataclass(thing) else ():
        part = getattr(thing, field.name)
        if not field.repr or not is_dataclass(part):
            continue
        if any(is_dataclass(getattr(part, inner.name)) for inner in fields(part)):
            yield f"{indent}{field.name}:"
            yield from values(part, f"{indent}  ")
        else:
            yield f"{indent}{field.name}: {part!r}"


def shown(title: str, line: str, arguments: Sequence[str]) -> str:
    """Return the text of a title, a description and arguments."""
    return f"{title}: {line}\n  arguments: {', '.join(arguments) or 'none'}"


def holds(registry: Registry[Any], name: str) -> bool:
    """Whether a registry has a name, or a dotted name is a class or object of its kind.

    Raises:
        UserError: There is no such module or attribute.
    """
    if ":" not in name:
        return name in registry or name in registry.makers
    found = dotted.resolve(name)
    if isinstance(found, type):
        return issubclass(found, registry.base)
    return isinstance(found, registry.base)
