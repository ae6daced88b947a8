"""The parser of the commands: short errors, and lists as people type them."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar, get_args, get_type_hints

from jsonargparse import ArgumentParser, Namespace

from beyondprop.cli.help import Help
from beyondprop.cli.notation import MODE
from beyondprop.errors import shown

TEXTS = (
    "--rules",
    "--blocks",
    "--measures",
    "--projections",
    "--tasks",
    "--optimizers",
    "--candidates",
    "--methods",
    "--sections",
)
NUMBERS = (
    *("--seeds", "--learning_rates", "--input", "--widths", "--depths", "--samples"),
    *("--budgets", "--rates"),
)
SINGLE = {"distil": ("--samples",)}
"""Flags that take one value in a command, and a list in others."""
KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "tuple": "a list"}
SPELLINGS = (
    "Options can be spelled with dashes (--batch-size) and in the singular or plural; --lr is the "
    "learning rate."
)
"""What `renamed` understands, for the help."""
LONG = re.compile(r"(\S{60})\S{20,}")
"""A word that is longer than a message shows."""

SpecT = TypeVar("SpecT")


class Parser(ArgumentParser):
    """An argument parser that says what is wrong in one sentence and exits with code 2."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(
            allow_abbrev=False, formatter_class=Help, **settings | {"parser_mode": MODE}
        )

    @property
    def flags(self) -> list[str]:
        """The names of its flags, without dashes."""
        return ["help", "print_config", *re.findall(r"--(\w+)", self.format_usage())]

    def add_spec(self, kind: type, output: str, resume: str, skip: Sequence[str] = ()) -> None:
        """Add a spec's fields, and the flags of every command that leaves a folder.

        Args:
            kind: The spec's class.
            output: Help for the folder.
            resume: Help for continuing.
            skip: Fields for which the command adds its own flags.
        """
        self.description = f"{self.description} {SPELLINGS}"
        self.add_argument(
            "--config", action="config", help="YAML file with any of the fields below."
        )
        self.add_argument("--output", type=Path | None, default=None, help=output)
        self.add_argument("--resume", action="store_true", help=resume)
        self.add_class_arguments(kind, as_group=True, skip=set(skip))

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:  # noqa: ARG002
        """Say what is wrong and exit."""
        command = self.prog.replace(" [options]", "")
        if not command.startswith("beyondprop"):  # the parser of a setting that has fields
            command = "beyondprop"
        sys.stderr.write(f"{command}: {plain(message)}; see {command} --help\n")
        sys.exit(2)


def plain(message: str) -> str:
    """Return a message of jsonargparse in one line: the flag, and what it expects."""
    key = re.match(r'Parser key "(\w+)":', message)
    value = re.search(r"(?:Given|Got) value: (.*)", message)
    kinds = re.findall(r"(?:Expected a |Subtypes: \[)<class '(\w+)'>", message)
    if key and value and kinds:
        return f"--{key[1]} expects {KINDS.get(kinds[0], 'text')}, not {shown(value[1])}"
    message = re.sub(r'^Parser key "(\w+)":', r"--\1:", message)
    message = re.sub(r"(arguments are required: )\w+\.", r"\1", message)
    return LONG.sub(r"\1...", " ".join(message.split())).rstrip(".")


def lists_of(argv: Sequence[str]) -> dict[str, bool]:
    """Return which flags of a command take lists, and whether their items are texts."""
    single = SINGLE.get(argv[0], ()) if argv else ()
    return {name: name in TEXTS for name in TEXTS + NUMBERS if name not in single}


def with_lists(argv: Sequence[str], lists: Mapping[str, bool] | None = None) -> list[str]:
    """Turn `--seeds 0 1 2` and `--rules dfa,fa` into the YAML lists that jsonargparse reads.

    Dashes within the names of flags become underscores: `--batch-size` is `--batch_size`. A list
    that is given in several parts is one.

    Args:
        argv: Words of a command line.
        lists: Flags that take lists, and whether their items are texts; by default those of the
            command that the first word names.
    """
    words, rest = list[str](), list(argv)
    found: dict[str, tuple[int, list[str]]] = {}  # where a list stands, and what it has so far
    lists = lists_of(argv) if lists is None else lists
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if not name.startswith("--"):
            words.append(word)
            continue
        name = "--" + name[2:].replace("-", "_")
        values = [value] if equals else []
        while name in lists and not equals and rest and not rest[0].startswith("--"):
            values.append(rest.pop(0))
        if name in lists and values:
            place, earlier = found.setdefault(name, (len(words), []))
            earlier += values
            words[place:] = [
                f"{name}={as_list(earlier, quoted=lists[name])}",
                *words[place + 1 :],
            ]
        else:
            words.append(name + equals + value)
    return words


def as_list(values: Sequence[str], quoted: bool) -> str:
    """Return words, or words with commas, as a YAML list; one that is written as such stays."""
    if values[0].startswith("["):
        return " ".join(values)
    items = [item for value in values for item in split(value)]
    shown = [item if not quoted or item.startswith("{") else json.dumps(item) for item in items]
    return f"[{', '.join(shown)}]"


def split(value: str) -> list[str]:
    """Return the parts between commas; commas in brackets part the arguments of a rule."""
    parts, depth = [""], 0
    for letter in value:
        depth += (letter in "{[") - (letter in "]}")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]


def spec_of(kind: type[SpecT], arguments: Namespace) -> SpecT:
    """Return the spec that a command's flags and its YAML file make.

    Raises:
        UserError: A value that no run can have.
    """
    wanted = get_type_hints(kind)
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    return kind(**{name: _whole(arguments[name], wanted[name]) for name in names})


def _whole(value: Any, wanted: Any) -> Any:
    """Return a value of a spec; settings within it, which jsonargparse leaves as a namespace, as
    the class that the field asks for.
    """
    if not isinstance(value, Namespace):
        return value
    made: Any = next(each for each in get_args(wanted) if is_dataclass(each))
    return made(**vars(value))
