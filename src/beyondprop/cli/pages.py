"""Messages of a command on the report that it writes next to its record."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from beyondprop.errors import UserError, install
from beyondprop.files import StorageError

NEEDED = ("matplotlib", "jinja2")
"""Packages that a report needs."""


def forewarn() -> None:
    """Warn before the work starts if a package for the report is missing."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        print(
            f"beyondprop: the report needs {' and '.join(missing)}: {install('report')}; the work "
            "continues without it, and `beyondprop report` can write the report afterwards",
            file=sys.stderr,
        )


def report_of(folder: Path) -> str:
    """Write a folder's report and return its path, or how to write it later, in a sentence."""
    from beyondprop.report import write

    return told_of(lambda: write([folder], folder / "report.html"), f"beyondprop report {folder}")


def told_of(write: Callable[[], Path], again: str) -> str:
    """Write a page and return its path, or what is missing to write it, in a sentence.

    Args:
        write: Writes the page and returns its path.
        again: The command that writes the page later.
    """
    try:
        return f"report: {write()}"
    except StorageError:
        raise
    except UserError as missing:
        return f"no report: {missing}; then run: {again}"
