"""The one exception that a user of the library can cause and mend."""

FAULTS = (Exception, SystemExit)
"""What a user's code that is called may fail with: also by an exit, which would look like success.

Ctrl-C is not a fault of the code.
"""


LONGEST = 80
"""Characters of a value that a message shows."""


class UserError(Exception):
    """Something the caller asked for cannot be done; the message says what to do instead.

    The command line prints the message alone and exits with code 2.
    """


def check_type(name: str, value: object, kind: type | tuple[type, ...], wanted: str) -> None:
    """Check the type of an argument.

    Args:
        name: The argument's.
        value: What was given.
        kind: What it must be an instance of.
        wanted: The same in words, with an example.

    Raises:
        UserError: It is not.
    """
    if isinstance(value, kind):
        return
    if isinstance(value, type) and issubclass(value, kind):
        raise UserError(f"{name} is the class {value.__name__}: call it, as {value.__name__}(...)")
    plain = isinstance(value, str | bytes | int | float) or value is None
    given = shown(value) if plain else f"a {type(value).__name__}"
    raise UserError(f"{name} must be {wanted}, not {given}")


def shown(value: object) -> str:
    """Return a value as a message shows it: short, also where Python cannot print it."""
    try:
        text = repr(value)
    except ValueError:  # Python prints whole numbers up to 4300 digits alone
        return "a whole number of thousands of digits"
    except RecursionError:
        return "what is nested so deeply"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def install(extra: str) -> str:
    """Return how an extra is installed, for messages.

    No index has the package yet. Once one has: pip install "beyondprop[EXTRA]".
    """
    return f'pip install ".[{extra}]" in a checkout of BeyondProp'


def changed(name: str) -> UserError:
    """Return the error for a model whose modules are no longer those that were attached to."""
    return UserError(
        f"the module '{name}' was replaced, added or taken away since the rules were attached: "
        "call remove() on the handle and attach again"
    )
