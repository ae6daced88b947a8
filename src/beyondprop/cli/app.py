"""The command line: `beyondprop` and one of `COMMANDS`."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from importlib.metadata import version
from io import TextIOWrapper
from itertools import pairwise

import yaml
from jsonargparse import Namespace

from beyondprop.cli import (
    audit,
    check,
    compare,
    distil,
    listing,
    modalities,
    project,
    report,
    scale,
    track,
    train,
    tune,
)
from beyondprop.cli.notation import check_text
from beyondprop.cli.parser import Parser, typed, with_lists
from beyondprop.cli.typed import in_flags, renamed
from beyondprop.errors import UserError, one_line
from beyondprop.files import (
    WriteError,
)
from beyondprop.text import did_you_mean

COMMANDS = {
    "train": train,
    "compare": compare,
    "scale": scale,
    "distil": distil,
    "modalities": modalities,
    "audit": audit,
    "tune": tune,
    "report": report,
    "track": track,
    "list": listing,
    "check": check,
    "project": project,
}
PATHS = ("--output", "--data", "--config")
OPTIONS = ("--help", "--version")
PROBLEM, INTERRUPTED = 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The words after `beyondprop`; by default those of this process.

    Returns:
        The exit code: 0; 2 if there is a problem, which one sentence on standard error explains;
        130 after Ctrl-C.
    """
    for stream in (sys.stdout, sys.stderr):  # a console may lack some characters
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        arguments = parsed(words or ["--help"])
        code = carried_out(arguments.subcommand, arguments[arguments.subcommand])
        sys.stdout.flush()
        return code
    except WriteError as problem:  # the same command can continue once there is room
        return say(in_flags(f"{problem}{again(words)}", flags(words)), PROBLEM)
    except UserError as problem:
        return say(in_flags(str(problem), flags(words)), PROBLEM)
    except BrokenPipeError:  # the reader closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return say(f"{where}{error.strerror or error}", PROBLEM)
    except KeyboardInterrupt:
        return say(f"interrupted{again(words)}", INTERRUPTED)


def parsed(words: Sequence[str]) -> Namespace:
    """Return the parsed arguments of a command line.

    Raises:
        UserError: An argument, or a file that it names, cannot be read.
    """
    try:
        for word in words:
            check_text(word.rpartition("=")[2])  # jsonargparse accepts values that are not YAML
        own = own_words(words)
        check_paths(own)
        with typed(words):
            return parser().parse_args(with_lists(own))
    except UnicodeError as error:
        raise UserError(f"the --config file must be text in UTF-8: {error}") from error
    except RecursionError as error:
        raise UserError("an argument is nested too deeply: write it with fewer levels") from error
    except (ValueError, yaml.YAMLError) as error:  # e.g. a number of thousands of digits
        raise UserError(f"an argument cannot be read: {' '.join(str(error).split())}") from error


def own_words(words: Sequence[str]) -> list[str]:
    """Return the words with the command's own spelling of flags; see `renamed`.

    Raises:
        UserError: There is no such command, or it has no such flag.
    """
    command, *rest = words
    if command.startswith("-"):
        if command.startswith("--") and command not in OPTIONS:
            meant = did_you_mean(command, OPTIONS)
            raise UserError(f"there is no option {command}{meant}; see beyondprop --help")
        return list(words)
    if command not in COMMANDS:
        hint = did_you_mean(command, COMMANDS)
        raise UserError(f"there is no command {command!r}; there are {', '.join(COMMANDS)}{hint}")
    try:
        return [command, *renamed(rest, flags(words))]
    except UserError as problem:
        raise UserError(f"{problem}; see beyondprop {command} --help") from None


def check_paths(words: Sequence[str]) -> None:
    """Check that no path is empty: it would mean the current folder.

    Raises:
        UserError: One is empty.
    """
    for before, word in pairwise(("", *words)):
        flag = before if word == "" and before.startswith("--") else word.removesuffix("=")
        if flag in PATHS and (word == "" or word.endswith("=")):
            raise UserError(f"{flag} is empty: give a path, or leave it out")
        if word == "" and not before.startswith("--"):
            raise UserError("an argument is empty: give a value, or leave it out")


def flags(words: Sequence[str]) -> list[str]:
    """Return the names of the flags of the command in the first word."""
    known = COMMANDS.get(words[0]) if words else None
    return [] if known is None else known.parser().flags


def carried_out(command: str, arguments: Namespace) -> int:
    """Run a command; return its exit code.

    Raises:
        UserError: Code that it calls tries to exit, which would look like success.
    """
    try:
        code: int = COMMANDS[command].run(arguments)
        return code
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as end:
        raise UserError(f"code that the command calls has stopped it: {one_line(end)}") from end


def parser() -> Parser:
    """Return the parser of the command line, with a parser for each command."""
    whole = Parser(
        prog="beyondprop",
        description="Train any PyTorch model with learning rules other than end-to-end "
        "backpropagation, and measure their costs and benefits.",
        epilog="Begin with: beyondprop compare",
    )
    whole.add_argument("--version", action="version", version=f"beyondprop {version('beyondprop')}")
    commands = whole.add_subcommands(metavar="command")
    for name, module in COMMANDS.items():
        whole.add_command(commands, name, module.parser(), module.HELP)
    return whole


def again(words: Sequence[str]) -> str:
    """Return how to continue a command that was stopped; empty if it cannot be continued."""
    if words[0] not in ("train", "compare", "scale", "distil", "modalities", "audit", "tune"):
        return ""
    resumed = [*words, *([] if "--resume" in words else ["--resume"])]
    return f"; to continue: beyondprop {shlex.join(resumed)}"


def say(message: str, code: int) -> int:
    """Print a message on standard error and return the exit code."""
    print(f"beyondprop: {message}", file=sys.stderr)
    return code
