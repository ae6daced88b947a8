"""A folder that one process at a time works in."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from beyondprop.errors import UserError
from beyondprop.files import cannot, is_at, lock, remove_asides, worked_in

PATIENCE = 10.0
"""Seconds to wait: workers of a process that was killed end themselves within one."""


@contextmanager
def held(folder: Path, patience: float | None = None) -> Iterator[None]:
    """Keep other processes out of a folder while this one works in it.

    A folder that is missing is made, and removed again where nothing is put into it. What a killed
    process left half-written in it is removed. The system lets go when the process ends, however it
    ends. Where it has no such locks (Windows, some network file systems), nothing is kept out.
    Nothing is written any more where the folder was deleted, moved or replaced meanwhile.

    Raises:
        UserError: Another process works in it, and does not end.
        StorageError: The folder cannot be made.
    """
    try:
        made = [each for each in (folder, *folder.parents) if not each.exists()]
        handle = _taken(folder, time.monotonic() + (PATIENCE if patience is None else patience))
    except OSError as error:
        raise cannot("write", folder, error) from None
    try:
        with suppress(OSError):  # they do no harm where they cannot be removed
            remove_asides(folder)
        with nullcontext() if handle is None else worked_in(folder, handle):
            yield
    finally:
        if handle is None or is_at(handle, folder):
            with suppress(OSError):  # what is refused leaves no empty folders behind
                for each in made:
                    each.rmdir()
        if handle is not None:
            os.close(handle)


@contextmanager
def shared(folder: Path) -> Iterator[None]:
    """Work in a folder that another process holds; see `held`.

    Raises:
        StorageError: The folder cannot be opened.
    """
    if sys.platform == "win32":
        yield
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise cannot("read", folder, error) from None
    try:
        with worked_in(folder, handle):
            yield
    finally:
        os.close(handle)


def _taken(folder: Path, until: float) -> int | None:
    """Return a locked folder's open handle; None where folders cannot be opened.

    Raises:
        UserError: Another process has it at the end of the time.
        OSError: It cannot be made or opened.
    """
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        if sys.platform == "win32":
            return None
        try:
            handle = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            continue  # who had it has removed it just now
        taken = lock(handle) is not False
        if taken and is_at(handle, folder):
            return handle
        os.close(handle)
        if taken:
            continue  # removed likewise
        if time.monotonic() > until:
            raise UserError(
                f"another process works in {folder}; wait for it, or choose another output="
            )
        time.sleep(0.1)
