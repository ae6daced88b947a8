"""Specs: how objects are named, in the same form in Python, in YAML and on the command line.

``dfa``                                                a short name
``my.rules:Mine``                                      an attribute of a module
``{rule: dfa, projection: {hadamard: {rounds: 2}}}``   either, with arguments

A mapping has the name under the key of its registry (``rule`` for rules, ``name`` for most others)
and the arguments next to it, as in records; or the name is its only key and holds the arguments.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from beyondprop.errors import UserError, shown

Spec = str | Mapping[str, Any]
"""A name, or a mapping that holds a name and arguments."""

KEYS = ("rule", "optimizer", "task", "name", "part", "candidate", "draw", "fusion", "section")
"""Keys that can hold a name next to its arguments."""

LONGEST = 100
"""Most characters of a file's name; systems allow 255 bytes."""


class Named(NamedTuple):
    """A name and its arguments, neither of them looked up yet."""

    name: str
    arguments: Mapping[str, Any]


def read(spec: Spec, kind: str, key: str) -> Named:
    """Return the name and the arguments in a spec.

    Args:
        spec: The spec as people write it.
        kind: The kind of object that it names, for the message.
        key: The key of the name in a mapping that also holds the arguments.

    Raises:
        UserError: It is neither a name nor a mapping with one.
    """
    found = split(spec, (key,))
    if found is None or "{" in found.name:  # a command's mapping that is not YAML stays a string
        hint = ", with a space after each colon" if isinstance(spec, str) else ""
        raise UserError(
            f"a {kind} is written as its name, or with arguments as "
            f"{{{key}: NAME, ARGUMENT: VALUE, ...}} or {{NAME: {{ARGUMENT: VALUE, ...}}}}, "
            f"not as {shown(spec)}{hint}"
        )
    return found


def label(spec: Any) -> str:
    """Return a spec in one short line for tables: ``dfa(projection=hadamard(rounds=2))``."""
    named = split(spec)
    if named is not None:
        inner = ", ".join(f"{name}={label(value)}" for name, value in named.arguments.items())
        return f"{named.name}({inner})" if inner else named.name
    if isinstance(spec, Mapping):
        return "{" + ", ".join(f"{name}={label(value)}" for name, value in spec.items()) + "}"
    if isinstance(spec, list | tuple):
        return "[" + ", ".join(map(label, spec)) + "]"
    return str(spec)


def file_name(text: str) -> str:
    """Return a label as part of a file's name: ``my.rules:Mine`` is ``my.rules-Mine``."""
    safe = re.sub(r"[^\w.-]+", "-", text).strip("-")
    if len(safe) <= LONGEST:
        return safe
    return f"{safe[: LONGEST - 9]}-{hashlib.blake2b(text.encode(), digest_size=4).hexdigest()}"


def split(spec: Any, keys: tuple[str, ...] = KEYS) -> Named | None:
    """Return the name and the arguments in a spec; None if it names nothing."""
    if isinstance(spec, str):
        return Named(spec, {})
    if not isinstance(spec, Mapping) or not all(isinstance(name, str) for name in spec):
        return None
    for key in keys:
        if isinstance(spec.get(key), str):
            return Named(spec[key], {name: spec[name] for name in spec if name != key})
    if len(spec) != 1:
        return None
    ((name, arguments),) = spec.items()
    if arguments is None:  # in YAML `{dense: }`
        arguments = {}
    return Named(name, arguments) if isinstance(arguments, Mapping) else None
