"""Folders and files of experiments: written atomically, and checked before they are reused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from beyondprop.errors import UserError
from beyondprop.experiment import forms
from beyondprop.experiment.metrics import METRICS
from beyondprop.experiment.recipe import RECIPE
from beyondprop.experiment.sessions import SESSIONS
from beyondprop.files import StorageError, cannot, check_worked_in, discard, is_aside
from beyondprop.jobs.executor import LOG
from beyondprop.jobs.lock import held

SPEC = "spec.json"
PREPARED = (SPEC, RECIPE, SESSIONS, METRICS, LOG)
"""Files that are written before there is a result."""
NOT_COMPARED = ("data",)
"""Fields of a spec that may differ in a resumed folder: the data may have moved."""

ADDED = {"schedule": "joint", "fusion": None, "target": None, "adversarial": None}
"""Fields that the specs of earlier versions lack, with their values in these versions."""


@contextmanager
def occupied(folder: Path) -> Iterator[None]:
    """Lock a folder as `held` does; if the work is refused before it has a result, empty it again.

    The same command then works after the mend. A folder that had files before keeps all files.

    Raises:
        UserError: For the reasons of `held`.
    """
    with held(folder):
        fresh = all(map(is_aside, _content(folder)))
        try:
            yield
        except StorageError:  # for example a full disk: the command can be continued
            raise
        except UserError:
            if fresh:
                _remove_prepared(folder)
            raise


def _remove_prepared(folder: Path) -> None:
    """Remove the files and empty folders in a folder that has no results."""
    with suppress(OSError):  # the first error is the one to report
        found = sorted(folder.rglob("*"), reverse=True)  # what a folder holds, before the folder
        inner = [each for each in found if each.is_dir() and not each.is_symlink()]
        files = [each for each in found if each not in inner]
        if all(each.name in PREPARED or is_aside(each) for each in files):
            check_worked_in(folder)
            for file in files:
                discard(file)
            for each in inner:
                each.rmdir()


@contextmanager
def claimed(
    folder: Path, spec: dict[str, Any], resume: bool, grows: Sequence[str] = ()
) -> Iterator[None]:
    """Lock a folder against other processes while it is used for ``spec``.

    A refusal before there is a result leaves no folder behind.

    Args:
        folder: See `check_claim`.
        spec: See `check_claim`.
        resume: See `check_claim`.
        grows: See `check_claim`.

    Raises:
        UserError: For the reasons of `check_claim`, or another process uses the folder.
        StorageError: The folder cannot be made or read.
    """
    with occupied(folder):
        check_claim(folder, spec, resume, grows)
        yield


def check_claim(
    folder: Path, spec: dict[str, Any], resume: bool, grows: Sequence[str] = ()
) -> None:
    """Check that a folder may be used for a spec: missing, empty, or resumed with the same spec.

    Nothing is written. Incomplete files of a killed run are ignored.

    Args:
        folder: The run's or comparison's folder.
        spec: The resolved spec for the folder, as JSON.
        resume: Whether the folder's content may be continued.
        grows: Fields of the spec that may have more values than before.

    Raises:
        UserError: The folder is not empty and ``resume`` is False, or it has another spec.
        StorageError: The folder cannot be read.
    """
    if not all(map(is_aside, _content(folder))):
        _check_spec(folder, spec, resume, grows)


def _check_spec(folder: Path, spec: dict[str, Any], resume: bool, grows: Sequence[str]) -> None:
    if not resume:
        raise UserError(
            f"{folder} is not empty; add resume=True to continue what is there, "
            "or choose another output="
        )
    earlier = read_spec(folder)
    if earlier is None:
        raise UserError(
            f"{folder} contains no {SPEC}, so there is nothing to resume; choose another output="
        )
    earlier = {key: value for key, value in ADDED.items() if key in spec} | earlier
    differing = [
        key
        for key in spec | earlier
        if key not in (*NOT_COMPARED, *grows) and spec.get(key) != earlier.get(key)
    ]
    if differing:
        listed = ", ".join(
            f"{key} ({earlier.get(key)!r} there, {spec.get(key)!r} now)" for key in differing
        )
        raise UserError(
            f"{folder} was made with other settings: {listed}; "
            f"use the same settings{_own(folder)} or choose another output={_longer(differing)}"
        )


def _longer(differing: Sequence[str]) -> str:
    """Return why a run cannot be continued for longer, if that was requested."""
    if "epochs" not in differing:
        return ""
    return " (a resumed run keeps its number of epochs; a longer run must start from scratch)"


def _own(folder: Path) -> str:
    """Return how to use a folder's settings, if it has them as YAML."""
    recipe = folder / RECIPE
    return f" (--config {recipe})" if recipe.exists() else ""


def read_spec(folder: Path) -> dict[str, Any] | None:
    """Return the content of a folder's spec, or None if it has none.

    Raises:
        StorageError: The spec cannot be read or is damaged.
    """
    mend = "restore its content, or choose another output="
    return forms.read(folder / SPEC, forms.SPEC, mend)


def _content(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise cannot("read", folder, error) from None
