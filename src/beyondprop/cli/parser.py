"""The parser of the commands, with short errors and simple notation for lists."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar, get_args, get_type_hints

import yaml
from jsonargparse import ArgumentParser, Namespace

from beyondprop.cli.help import Help
from beyondprop.cli.notation import MODE, read_yaml
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
"""By command, flags that take one value there and a list in other commands."""
KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "tuple": "a list"}
SPELLINGS = (
    "Options can be spelled with dashes (--batch-size) and in the singular or plural; --lr is the "
    "learning rate, and --no-NAME turns an option off, as in --no-measure-cost."
)
"""The spellings that `renamed` accepts, for the help."""
TYPED: ContextVar[Sequence[str]] = ContextVar("TYPED", default=())
"""The words of the command line that is parsed."""
REQUIRES = "the following arguments are required: "
REQUIRED = re.compile(f"{REQUIRES}(.*)")
LONG = re.compile(r"(\S{60})\S{20,}")
"""Matches a word that is too long for a message."""

SpecT = TypeVar("SpecT")


class Parser(ArgumentParser):
    """An argument parser that reports an error in one sentence and exits with code 2.

    Attributes:
        commands: The parsers of its commands by name.
    """

    def __init__(self, **settings: Any) -> None:
        self.commands = dict[str, Parser]()
        super().__init__(
            allow_abbrev=False, formatter_class=Help, **settings | {"parser_mode": MODE}
        )

    def add_command(self, commands: Any, name: str, parser: Parser, text: str) -> None:
        """Add the parser of a command, with the line of the help on it."""
        commands.add_subcommand(name, parser, help=text)
        self.commands[name] = parser

    @property
    def flags(self) -> list[str]:
        """The names of its flags, without dashes."""
        return ["help", "print_config", *re.findall(r"--(\w+)", self.format_usage())]

    def add_spec(self, kind: type, output: str, resume: str, skip: Sequence[str] = ()) -> None:
        """Add the fields of a spec, and the flags of all commands that write a folder.

        Args:
            kind: The spec's class.
            output: Help for the folder.
            resume: Help for continuing.
            skip: Fields for which the command adds other flags.
        """
        self.description = f"{self.description} {SPELLINGS}"
        self.add_argument(
            "--config", action="config", help="YAML file with any of the fields below."
        )
        self.add_argument("--output", type=Path | None, default=None, help=output)
        self.add_argument("--resume", action="store_true", help=resume)
        self.add_class_arguments(kind, as_group=True, skip=set(skip))

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:  # noqa: ARG002
        """Print an error in one sentence and exit."""
        command = self.prog.replace(" [options]", "")
        if not command.startswith("beyondprop"):  # the parser of a setting with fields
            command = "beyondprop"
        if missing := REQUIRED.match(message):  # raised by the parser of all commands
            name, arguments = self._missing(missing[1].split(", "))
            command, message = " ".join([command, *name]), f"{REQUIRES}{', '.join(arguments)}"
        told = plain(message, TYPED.get())
        sys.stderr.write(f"{command}: {told}; see {command} --help\n")
        sys.exit(2)

    def _missing(self, keys: Sequence[str]) -> tuple[list[str], list[str]]:
        """Return the command that requires arguments, and their names as its help shows them.

        Args:
            keys: The names in this parser: "project.inputs" is the argument "inputs" of "project".
        """
        command, asked = list[str](), self
        name = keys[0].partition(".")[0]
        if name in self.commands:
            command, asked = [name], self.commands[name]
        plain_keys = [key.removeprefix(".".join([*command, ""])) for key in keys]
        return command, [asked.as_in_help(key) for key in plain_keys]

    def as_in_help(self, key: str) -> str:
        """Return an argument as the help shows it: "--inputs" for "inputs", RUN for "runs"."""
        if key in self.flags:
            return f"--{key}"
        words = re.findall(r"\b[A-Z]+\b", self.format_usage())
        return next((word for word in words if key.upper() in (word, f"{word}S")), key)


@contextmanager
def typed(words: Sequence[str]) -> Iterator[None]:
    """Let errors quote values as they are written in these words of a command line."""
    before = TYPED.set(words)
    try:
        yield
    finally:
        TYPED.reset(before)


def as_typed(value: str, words: Sequence[str]) -> str:
    """Return a value as it is written in the words of a command line: ``1e1``, not ``10.0``."""
    parts = [part for word in words for part in re.split(r"[\s,=\[\]]+", word) if part]
    return next((part for part in parts if value in (part, _read(part))), value)


def _read(text: str) -> str | None:
    """Return the text of the number that a text is in YAML; None if it is none."""
    try:
        found = read_yaml(text)
    except yaml.YAMLError:
        return None
    return repr(found) if isinstance(found, int | float) else None


def plain(message: str, words: Sequence[str] = ()) -> str:
    """Return a message of jsonargparse in one line: the flag and the expected value.

    Args:
        message: The message.
        words: The words of the command line.
    """
    key = re.match(r'Parser key "(\w+)":', message)
    value = re.search(r"(?:Given|Got) value: (.*)", message)
    kinds = re.findall(r"(?:Expected a |Subtypes: \[)<class '(\w+)'>", message)
    if key and value and kinds:
        given = shown(as_typed(value[1], words))
        return f"--{key[1]} expects {KINDS.get(kinds[0], 'text')}, not {given}"
    message = re.sub(r'^Parser key "(\w+)":', r"--\1:", message)
    return LONG.sub(r"\1...", " ".join(message.split())).rstrip(".")


def lists_of(argv: Sequence[str]) -> dict[str, bool]:
    """Return the flags of a command that take lists, and whether their items are strings."""
    single = SINGLE.get(argv[0], ()) if argv else ()
    return {name: name in TEXTS for name in TEXTS + NUMBERS if name not in single}


def with_lists(argv: Sequence[str], lists: Mapping[str, bool] | None = None) -> list[str]:
    """Turn `--seeds 0 1 2` and `--rules dfa,fa` into the YAML lists that jsonargparse reads.

    Dashes within the names of flags become underscores: `--batch-size` is `--batch_size`. The
    values of a repeated flag are joined into one list.

    Args:
        argv: Words of a command line.
        lists: Flags that take lists, and whether their items are strings; by default those of the
            command in the first word.
    """
    words, rest = list[str](), list(argv)
    found: dict[str, tuple[int, list[str]]] = {}  # the place of a list, and its values so far
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
    """Return words, or words with commas, as a YAML list; a list in brackets stays as it is."""
    if values[0].startswith("["):
        return " ".join(values)
    items = [item for value in values for item in split(value)]
    shown = [item if not quoted or item.startswith("{") else json.dumps(item) for item in items]
    return f"[{', '.join(shown)}]"


def split(value: str) -> list[str]:
    """Return the parts between commas; commas in brackets separate arguments and do not count."""
    parts, depth = [""], 0
    for letter in value:
        depth += (letter in "{[") - (letter in "]}")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]


def spec_of(kind: type[SpecT], arguments: Namespace) -> SpecT:
    """Return the spec from a command's flags and its YAML file.

    Raises:
        UserError: A value is not allowed.
    """
    wanted = get_type_hints(kind)
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    return kind(**{name: _whole(arguments[name], wanted[name]) for name in names})


def _whole(value: Any, wanted: Any) -> Any:
    """Return a value of a spec; a namespace, in which jsonargparse leaves nested settings, becomes
    the dataclass of the field."""
    if not isinstance(value, Namespace):
        return value
    made: Any = next(each for each in get_args(wanted) if is_dataclass(each))
    return made(**vars(value))
