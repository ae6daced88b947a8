"""Checks of the arguments with which an experiment is called."""

from pathlib import Path
from typing import Any, TypeVar

from beyondprop.registry import checked

SpecT = TypeVar("SpecT")


def entered(kind: type[SpecT], spec: Any, output: Any, resume: Any) -> tuple[SpecT, Path, bool]:
    """Return the spec, the folder and ``resume``, with their types checked.

    Args:
        kind: The spec's class; a mapping of its fields is also accepted as a spec.
        spec: The argument for the spec.
        output: The argument for the folder.
        resume: The argument for whether to continue.

    Raises:
        UserError: An argument has another type.
    """
    found: SpecT = checked("spec", spec, kind)
    return found, checked("output", output, Path), checked("resume", resume, bool)
