"""The command line of a benchmark, with the flags in the signature of its `main`."""

import sys
from collections.abc import Callable, Sequence
from typing import get_args, get_origin, get_type_hints

import jsonargparse

from beyondprop.cli.parser import with_lists
from beyondprop.errors import UserError


def command_line(main: Callable[..., None]) -> None:
    """Run ``main`` with the flags in its signature; ``--cases a b`` is one list."""
    try:
        jsonargparse.auto_cli(main, args=with_lists(sys.argv[1:], list_flags(main)))
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


def list_flags(main: Callable[..., None]) -> dict[str, bool]:
    """Return which flags of ``main`` take lists, and whether their items are strings."""
    found = {}
    for name, hint in get_type_hints(main).items():
        for each in (hint, *get_args(hint)):  # a union has its members as arguments
            origin = get_origin(each)
            if isinstance(origin, type) and issubclass(origin, Sequence):
                found[f"--{name}"] = get_args(each)[0] is str
    return found
