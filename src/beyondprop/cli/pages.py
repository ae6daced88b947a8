"""What a command says of the page that it writes beside its record."""

from collections.abc import Callable
from pathlib import Path

from beyondprop.errors import UserError
from beyondprop.files import StorageError


def told_of(write: Callable[[], Path]) -> str:
    """Write a page and return where it is, or what is missing to write it."""
    try:
        return f"report: {write()}"
    except StorageError:
        raise
    except UserError as missing:
        return f"no report: {missing}"
