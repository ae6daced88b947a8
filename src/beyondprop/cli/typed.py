"""Flags as people type them, and parameters as messages write them, in each other's words."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from beyondprop.errors import UserError
from beyondprop.text import suggested

SHORT = {"lr": "learning_rate"}
"""Other names of flags."""


def renamed(words: Sequence[str], flags: Collection[str]) -> list[str]:
    """Return words of a command with its own flags in place of others that mean the same.

    Dashes within the names of flags become underscores; ``--rules`` is ``--rule`` where a command
    takes one, and the other way round; ``--lr`` is the learning rate; ``--no-measure-cost`` is
    ``--measure_cost=false``.

    Args:
        words: What was typed.
        flags: The names of the command's flags, without dashes.

    Raises:
        UserError: A flag is none of the command's.
    """
    return [_renamed(word, flags) if re.match(r"--\w", word) else word for word in words]


def _renamed(word: str, flags: Collection[str]) -> str:
    name, equals, value = word[2:].partition("=")
    whole, dot, part = name.replace("-", "_").partition(".")
    rest = dot + part + equals + value
    short = SHORT.get(whole, whole)
    for known in (whole, short, f"{short}s", whole.removesuffix("s")):
        if known in flags:
            return f"--{known}{rest}"
    off = whole.removeprefix("no_")
    if off != whole and off in flags and not rest:
        return f"--{off}=false"
    raise UserError(f"there is no option --{name}{_meant(whole, flags)}")


def _meant(typed: str, flags: Collection[str]) -> str:
    """Return the flag that is closest, by its whole name or its first word.

    The dashes are left out of what is compared: they make any two short flags alike.
    """
    first = {name.partition("_")[0]: f"--{name}" for name in flags}
    return suggested(typed, first | {name: f"--{name}" for name in flags})


PARAMETER = re.compile(
    r"""\w+\([^()]*\)  # a call, such as the label of a task with its arguments, stays
    | (?<![^\s`'"(])(\w+)=(True\b)?(?=([\w'"\[({])?)  # paths and addresses hold such too
    """,
    re.VERBOSE,
)


def in_flags(message: str, flags: Collection[str]) -> str:
    """Return a message for the command line: parameters that are flags are written so.

    Messages name a parameter as Python has it, ``resume=True`` or ``blocks=``.
    """

    known = {*flags, "resume"}  # where a record is read, the command that made it has it

    def as_flag(found: re.Match[str]) -> str:
        name, sure, behind = found.groups()
        if name is None or name not in known:
            return found[0]
        return f"--{name}" if sure or not behind else f"--{name} "

    begun = re.match(r"(\w+)(?: of \w+)?(?= must | is empty| names something twice)", message)
    if begun and begun[1] in known:
        message = f"--{begun[1]}{message[begun.end() :]}"
    return PARAMETER.sub(as_flag, message)
