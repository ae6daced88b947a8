"""What an experiment is called with, checked where it enters."""

from pathlib import Path
from typing import Any, TypeVar

from beyondprop.registry import checked

SpecT = TypeVar("SpecT")


def entered(kind: type[SpecT], spec: Any, output: Any, resume: Any) -> tuple[SpecT, Path, bool]:
    """Return a spec, the folder and whether to continue, each of its type.

    Args:
        kind: The spec's class; a mapping of its fields makes one, too.
        spec: What was given as the spec.
        output: What was given as the folder.
        resume: What was given for whether to continue.

    Raises:
        UserError: One of them is of another type.
    """
    found: SpecT = checked("spec", spec, kind)
    return found, checked("output", output, Path), checked("resume", resume, bool)
