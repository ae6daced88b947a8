"""Locks of folders: only one process at a time uses a folder."""

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
"""Seconds to wait: the workers of a killed process end within one second."""


@contextmanager
def held(folder: Path, patience: float | None = None) -> Iterator[None]:
    """Lock a folder against other processes while this one works in it.

    A missing folder is made, and removed again if it stays empty. Incomplete files of a killed
    process are removed. The operating system releases the lock when the process ends for any
    reason. On systems without such locks (Windows, some network file systems), other processes are
    not kept out. If the folder is deleted, moved or replaced meanwhile, nothing more is written.

    Raises:
        UserError: Another process works in the folder and does not end.
        StorageError: The folder cannot be made.
    """
    try:
        made = [each for each in (folder, *folder.parents) if not each.exists()]
        handle = _taken(folder, time.monotonic() + (PATIENCE if patience is None else patience))
    except OSError as error:
        raise cannot("write", folder, error) from None
    try:
        with suppress(OSError):  # files that can't be removed do no harm
            remove_asides(folder)
        with nullcontext() if handle is None else worked_in(folder, handle):
            yield
    finally:
        if handle is None or is_at(handle, folder):
            with suppress(OSError):  # a refused call leaves no empty folders behind
                for each in made:
                    each.rmdir()
        if handle is not None:
            os.close(handle)


@contextmanager
def shared(folder: Path) -> Iterator[None]:
    """Work in a folder that another process has locked; see `held`.

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
    """Return an open handle of a folder that is now locked; None if folders cannot be opened.

    Raises:
        UserError: Another process still has the lock at the end of the time.
        OSError: The folder cannot be made or opened.
    """
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        if sys.platform == "win32":
            return None
        try:
            handle = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            continue  # the previous owner has just removed it
        taken = lock(handle) is not False
        if taken and is_at(handle, folder):
            return handle
        os.close(handle)
        if taken:
            continue  # removed meanwhile
        if time.monotonic() > until:
            raise UserError(
                f"another process works in {folder}; wait for it, or choose another output="
            )
        time.sleep(0.1)
