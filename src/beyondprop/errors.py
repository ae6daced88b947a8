"""The one exception for mistakes that a user of the library can correct."""

FAULTS = (Exception, SystemExit)
"""Exceptions that count as a failure of the user's code; an exit would otherwise look like success.

Ctrl-C is not a failure of the code.
"""


LONGEST = 80
"""Most characters of a value that a message shows."""


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
