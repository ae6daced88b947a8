"""Lookup of objects by a dotted name, as people write it on a command line."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

from beyondprop.errors import FAULTS, UserError, one_line
from beyondprop.text import did_you_mean


def resolve(name: str) -> object:
    """Return the object called "my.module:attribute".

    The current directory is put first on `sys.path` and stays there, as for `python -m`: the
    module may import its neighbours later.

    Raises:
        UserError: The name is malformed, or the module cannot be imported or lacks the attribute.
    """
    module_name, colon, attribute = name.partition(":")
    if not colon or not attribute.isidentifier():
        raise UserError(f"{name!r} is not a dotted name; write it as my.module:attribute")
    parts = module_name.split(".")
    if parts[-1] == "py" or not all(part.isidentifier() for part in parts):
        raise UserError(
            f"{module_name!r} is not the name of a module; write it with dots and without .py, "
            f"like my.module:{attribute}"
        )
    module = _import(module_name)
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise UserError(
            f"module {module_name!r} has no {attribute!r}{did_you_mean(attribute, vars(module))}"
        ) from None
    except FAULTS as error:  # a module may have a function `__getattr__`
        raise UserError(f"getting {name} failed: {one_line(error)}") from error


def source(thing: object) -> str:
    """Return the dotted name of an object's class, as "my.module:Class"."""
    return f"{type(thing).__module__}:{type(thing).__qualname__}"


def _import(name: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever the user's module does when it is run
        if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
            raise UserError(
                f"there is no module {error.name!r} in the current directory or installed"
            ) from error
        raise UserError(f"importing {name!r} failed: {one_line(error)}") from error
