"""`beyondprop list`: what there is."""

from __future__ import annotations

from collections.abc import Mapping

from jsonargparse import Namespace

from beyondprop.cli.parser import Parser
from beyondprop.measure import MEASURES
from beyondprop.projections import PROJECTIONS
from beyondprop.registry import first_line
from beyondprop.rules import RULES
from beyondprop.tasks import TASKS
from beyondprop.text import aligned

HELP = "List the rules, tasks, projections and measures, with a line each."


def parser() -> Parser:
    """The command has no flags."""
    return Parser(description=HELP, epilog="Example: beyondprop list")


def run(arguments: Namespace) -> int:  # noqa: ARG001
    """Prints the four lists."""
    lists = {
        "rules": {name: RULES.describe(name) for name in RULES},
        "tasks": {name: TASKS.describe(name) for name in TASKS},
        "projections": {name: PROJECTIONS.describe(name) for name in PROJECTIONS},
        "measures": {name: first_line(measure) for name, measure in MEASURES.items()},
    }
    print("\n\n".join(section(title, lines) for title, lines in lists.items()))
    return 0


def section(title: str, lines: Mapping[str, str]) -> str:
    """One list: a title, then a name and its line in columns."""
    return "\n".join([title, *aligned(list(lines.items()), indent=2)])
