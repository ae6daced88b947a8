"""The command line of a benchmark: the flags that the signature of its `main` says."""

import sys
from collections.abc import Callable, Sequence

import jsonargparse

from beyondprop.cli.parser import as_list, with_lists
from beyondprop.errors import UserError


def command_line(main: Callable[..., None]) -> None:
    """Run ``main`` with the flags that its signature says."""
    try:
        jsonargparse.auto_cli(main, args=arguments(sys.argv[1:]))
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


def arguments(argv: Sequence[str]) -> list[str]:
    """Return the arguments with ``--cases a b`` as one list, as `beyondprop` takes its lists."""
    words, rest = [], list(argv)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        values = [value] if equals else []
        if name == "--cases":
            while not equals and rest and not rest[0].startswith("--"):
                values.append(rest.pop(0))
            value, equals = (as_list(values, quoted=True), "=") if values else ("", "")
        words.append(name + equals + value)
    return with_lists(words)
