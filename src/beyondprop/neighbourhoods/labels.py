"""Names of neighbourhoods and labels of candidates, which also name folders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from beyondprop.errors import UserError
from beyondprop.neighbourhoods.candidates.base import Candidate
from beyondprop.neighbourhoods.neighbourhood import Neighbourhood
from beyondprop.registry import file_name

TEACHER = "teacher"
"""The label of the teacher's own piece."""


def check_named(
    neighbourhoods: Sequence[Neighbourhood], candidates: Mapping[str, Candidate]
) -> None:
    """Raise unless there is something to train, with unique names and folders.

    Raises:
        UserError: There is nothing to train, or two names or folders are the same.
    """
    if not neighbourhoods:
        raise UserError("there are no neighbourhoods: name parts of the teacher, see split")
    if not candidates:
        raise UserError("there are no candidates: give one, such as {'copy': make('copy')}")
    if TEACHER in candidates:
        raise UserError(
            f"a candidate can't be labelled {TEACHER!r}, which is the teacher's own piece: choose "
            "another label"
        )
    check_folders("neighbourhoods", [each.name for each in neighbourhoods])
    check_folders("candidates", candidates)


def check_folders(called: str, names: Iterable[str]) -> None:
    """Raise unless each name has its own folder, even on case-insensitive file systems.

    Raises:
        UserError: A name gives no folder name, or two names give the same one.
    """
    owners: dict[str, str] = {}
    for name in names:
        folder = file_name(name).casefold()
        if not folder.strip("."):
            raise UserError(f"{called} need a name with letters or digits, not {name!r}")
        if folder in owners:
            raise UserError(
                f"the {called} {owners[folder]!r} and {name!r} would share one folder "
                f"({file_name(name)}): choose names that differ in letters or digits"
            )
        owners[folder] = name
