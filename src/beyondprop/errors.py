"""The one exception for mistakes that a user can correct; other exceptions in one line."""

import sysconfig
from pathlib import Path
from traceback import walk_tb

FAULTS = (Exception, SystemExit)
"""Exceptions that count as a failure of the user's code; an exit would otherwise look like success.

Ctrl-C is not a failure of the code.
"""


LONGEST = 80
"""Most characters of a value that a message shows."""

OURS = str(Path(__file__).parent)
LIBRARY = str(Path(sysconfig.get_path("stdlib")))
INSTALLED = {"site-packages", "dist-packages", "torch"}
"""Folders of installed packages and of PyTorch, also if it was built in place."""


class UserError(Exception):
    """A request that cannot be carried out; the message says what to do instead.

    The command line prints the message alone and exits with code 2.
    """


def check_type(name: str, value: object, kind: type | tuple[type, ...], wanted: str) -> None:
    """Check the type of an argument.

    Args:
        name: The name of the argument.
        value: Its value.
        kind: The type that it must be an instance of.
        wanted: The same in words, with an example.

    Raises:
        UserError: The value has another type.
    """
    if isinstance(value, kind):
        return
    if isinstance(value, type) and issubclass(value, kind):
        raise UserError(f"{name} is the class {value.__name__}: call it, as {value.__name__}(...)")
    plain = isinstance(value, str | bytes | int | float) or value is None
    given = shown(value) if plain else f"a {type(value).__name__}"
    raise UserError(f"{name} must be {wanted}, not {given}")


def shown(value: object) -> str:
    """Return a value as a message shows it: shortened, and also if Python cannot print it."""
    try:
        text = repr(value)
    except ValueError:  # Python prints whole numbers of at most 4300 digits
        return "a whole number with thousands of digits"
    except RecursionError:
        return "a value that is nested too deeply"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def one_line(error: BaseException, longest: int | None = None) -> str:
    """Return an exception in one line: its name, its text if it has one, and its `place`.

    Args:
        error: The exception, once it has been caught.
        longest: Most characters of the name and the text. Default: all.
    """
    if isinstance(error, SystemExit):
        said = f"it ends the program with sys.exit({error.code!r})"
    else:
        text = " ".join(str(error).split())
        said = f"{type(error).__name__}: {text}" if text else type(error).__name__
    where = place(error)
    return f"{said[:longest]} ({where})" if where else said[:longest]


def place(error: BaseException) -> str:
    """Return the file and the line of the user's own code that raised an exception.

    It is the innermost call that lies outside BeyondProp, PyTorch, the standard library and
    installed packages. The file has no folder, so that records are the same on every machine.

    Returns:
        Such as "my_rule.py, line 12"; empty if there is no such call, and for errors of syntax,
        whose text already has it.
    """
    found = ""
    for frame, line in walk_tb(None if isinstance(error, SyntaxError) else error.__traceback__):
        file = frame.f_code.co_filename
        if not _is_installed(file):
            found = f"{Path(file).name}, line {line}"
    return found


def _is_installed(file: str) -> bool:
    """Whether code is not the user's: it is in a package or, as "<string>", in no file."""
    parts = Path(file).parts
    if file.startswith("<") or INSTALLED.intersection(parts[:-1]):
        return True
    return any(Path(file).is_relative_to(folder) for folder in (OURS, LIBRARY))


def install(extra: str) -> str:
    """Return the command that installs an extra, for messages.

    The package is not on an index yet. Once it is: pip install "beyondprop[EXTRA]".
    """
    return f'pip install ".[{extra}]" in a checkout of BeyondProp'


def changed(name: str) -> UserError:
    """Return the error for a model whose modules have changed since the rules were attached."""
    return UserError(
        f"the module '{name}' was replaced, added or removed since the rules were attached: "
        "call remove() on the handle and attach again"
    )
