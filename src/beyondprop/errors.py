"""The one exception that a user of the library can cause and mend."""


class UserError(Exception):
    """Something the caller asked for cannot be done; the message says what to do instead.

    The command line prints the message alone and exits with code 2.
    """


def changed(name: str) -> UserError:
    """Return the error for a model whose modules are no longer those that were attached to."""
    return UserError(
        f"the module '{name}' was replaced, added or taken away since the rules were attached: "
        "call remove() on the handle and attach again"
    )
