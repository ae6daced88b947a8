"""Flags as people type them, and parameters as messages write them, in each other's words."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from beyondprop.errors import UserError
from beyondprop.text import did_you_mean

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
    raise UserError(f"there is no option --{name}{did_you_mean(f'--{whole}', dashed(flags))}")


def dashed(flags: Collection[str]) -> list[str]:
    """Return flags as they are typed."""
    return [f"--{flag}" for flag in flags]


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
