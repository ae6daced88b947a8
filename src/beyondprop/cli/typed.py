"""Translation of typed flags to parameters, and of parameters in messages to flags."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from beyondprop.errors import UserError
from beyondprop.text import suggested

SHORT = {"lr": "learning_rate"}
"""Short names of flags."""


def renamed(words: Sequence[str], flags: Collection[str]) -> list[str]:
    """Return the words of a command with the command's own spelling of each flag.

    Dashes within the names of flags become underscores; ``--rules`` is ``--rule`` if a command has
    the singular, and vice versa; ``--lr`` is the learning rate; ``--no-measure-cost`` is
    ``--measure_cost=false``.

    Args:
        words: The typed words.
        flags: The names of the command's flags, without dashes.

    Raises:
        UserError: The command does not have a flag.
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
    """Return the closest flag, by its full name or its first word.

    Dashes are not compared: they would make all short flags similar.
    """
    first = {name.partition("_")[0]: f"--{name}" for name in flags}
    return suggested(typed, first | {name: f"--{name}" for name in flags})


PARAMETER = re.compile(
    r"""\w+\([^()]*\)  # a call, such as the label of a task with its arguments, is kept
    | (?<![^\s`'"(])(\w+)=(True\b)?(?=([\w'"\[({])?)  # but not in paths and addresses
    """,
    re.VERBOSE,
)


def in_flags(message: str, flags: Collection[str]) -> str:
    """Return a message for the command line, with parameters written as flags.

    Messages write a parameter as in Python, ``resume=True`` or ``blocks=``.
    """

    known = {*flags, "resume"}  # `report` lacks it, but not the command that wrote the record

    def as_flag(found: re.Match[str]) -> str:
        name, sure, behind = found.groups()
        if name is None or name not in known:
            return found[0]
        return f"--{name}" if sure or not behind else f"--{name} "

    begun = re.match(r"(\w+)(?: of \w+)?(?= must | is empty| names something twice)", message)
    if begun and begun[1] in known:
        message = f"--{begun[1]}{message[begun.end() :]}"
    return PARAMETER.sub(as_flag, message)
