"""Settings that rebuild an object, in the form of `spec`."""

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from numbers import Integral, Real
from typing import Any


def settings(thing: Any, key: str = "name") -> dict[str, Any]:
    """Return an object's name and the arguments of its class, as JSON values.

    Args:
        thing: An object with a `name`; only a dataclass has arguments.
        key: The key of the name, as in its registry.
    """
    return {key: thing.name, **(_arguments(thing) if is_dataclass(thing) else {})}


def _arguments(thing: Any) -> dict[str, Any]:
    return {field.name: plain(getattr(thing, field.name)) for field in fields(thing) if field.init}


def plain(value: Any) -> Any:
    """Return an argument as a JSON value; an object without one, as its string."""
    if hasattr(value, "settings"):
        return value.settings()
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if is_dataclass(value) and not isinstance(value, type):
        return settings(value) if hasattr(value, "name") else _arguments(value)
    return re.sub(r" at 0x[0-9a-fA-F]+", "", str(value))  # an address differs in every process
