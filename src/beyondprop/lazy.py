"""Names of a package that are imported on first use, so that importing the package is fast.

The stub next to the package (`__init__.pyi`) lists the source of each name, in plain lines
``from module import name as name``; type checkers and editors read the same lines.
"""

import ast
import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any


def names_of(stub: str) -> dict[str, tuple[str, str]]:
    """Return, by name, the module and the attribute that a stub imports it from."""
    return {
        alias.asname or alias.name: (str(node.module), alias.name)
        for node in ast.parse(stub).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def listing(names: Sequence[str]) -> Callable[[], list[str]]:
    """Return the `__dir__` of a package that lists only its public names, for completion.

    Args:
        names: Its ``__all__``.
    """
    return lambda: sorted(names)


def exports(
    package: str, path: str, own: Mapping[str, Any] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return `__getattr__`, `__dir__` and `__all__` of a package.

    Args:
        package: Its ``__name__``.
        path: Its ``__file__``; the stub is next to it.
        own: Names that the package defines itself.
    """
    places = names_of(Path(path).with_suffix(".pyi").read_text(encoding="utf-8"))
    public = sorted([*places, *(own or {})])

    def get(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, attribute = places[name]
        if module == package:  # a package inside this one
            found = importlib.import_module(f"{package}.{attribute}")
        else:
            found = getattr(importlib.import_module(module), attribute)
        setattr(sys.modules[package], name, found)
        return found

    return get, listing(public), public
