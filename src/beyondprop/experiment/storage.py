"""Folders and files of experiments: written atomically, refused when they are somebody else's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from beyondprop.errors import UserError
from beyondprop.experiment import forms
from beyondprop.experiment.recipe import RECIPE
from beyondprop.files import cannot, is_aside
from beyondprop.jobs.lock import held

SPEC = "spec.json"
NOT_COMPARED = ("data",)
"""Fields of a spec that a folder may be resumed without: the data may lie elsewhere by then."""

ADDED = {"schedule": "joint", "fusion": None, "target": None, "adversarial": None}
"""Fields that the specs of earlier versions lack, with what was done then."""


@contextmanager
def claimed(
    folder: Path, spec: dict[str, Any], resume: bool, grows: Sequence[str] = ()
) -> Iterator[None]:
    """Keep other processes out of a folder while it is used for `spec`.

    A mistake that is found before anything is written leaves no folder behind.

    Args:
        folder: As `check_claim` takes it.
        spec: The same.
        resume: The same.
        grows: The same.

    Raises:
        UserError: As `check_claim`, or another process works in it.
        StorageError: It cannot be made or read.
    """
    with held(folder):
        check_claim(folder, spec, resume, grows)
        yield


def check_claim(
    folder: Path, spec: dict[str, Any], resume: bool, grows: Sequence[str] = ()
) -> None:
    """Check that `folder` may be used for `spec`: missing, empty, or the same and resumed.

    Nothing is written. What a killed run left half-written counts for nothing.

    Args:
        folder: The run's or comparison's folder.
        spec: What it is to hold: the resolved spec, as JSON.
        resume: Whether what the folder holds may be continued.
        grows: Fields of the spec that may have become more.

    Raises:
        UserError: The folder holds something and `resume` is off, or it holds another spec.
        StorageError: It cannot be read.
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
        raise UserError(f"{folder} holds no {SPEC}, so nothing to resume; choose another output=")
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
    """Return why a run cannot go on longer, where that was asked for."""
    if "epochs" not in differing:
        return ""
    return " (a run that is resumed keeps its number of epochs: a longer one starts anew)"


def _own(folder: Path) -> str:
    """Return how to use a folder's own settings, where it has them as YAML."""
    recipe = folder / RECIPE
    return f" (--config {recipe})" if recipe.exists() else ""


def read_spec(folder: Path) -> dict[str, Any] | None:
    """Return what a folder's spec says, or None where it has none.

    Raises:
        StorageError: It cannot be read, or is not what was written.
    """
    mend = "put back what it was, or choose another output="
    return forms.read(folder / SPEC, forms.SPEC, mend)


def _content(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise cannot("read", folder, error) from None
