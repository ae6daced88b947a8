"""A folder that one process at a time works in."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from beyondprop.errors import UserError
from beyondprop.files import cannot

PATIENCE = 10.0
"""Seconds to wait: workers of a process that was killed end themselves within one."""


@contextmanager
def held(folder: Path, patience: float | None = None) -> Iterator[None]:
    """Keep other processes out of a folder while this one works in it.

    A folder that is missing is made, and removed again where nothing is put into it. The system
    lets go when the process ends, however it ends. Where it has no such locks (Windows, some
    network file systems), nothing is kept out.

    Raises:
        UserError: Another process works in it, and does not end.
        StorageError: The folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = None if sys.platform == "win32" else os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise cannot("write", folder, error) from None
    if handle is None:
        yield
        return
    try:
        _take(handle, folder, time.monotonic() + (PATIENCE if patience is None else patience))
        yield
    finally:
        with suppress(OSError):  # what is refused leaves no empty folder behind
            folder.rmdir()
        os.close(handle)


def _take(handle: int, folder: Path, until: float) -> None:
    import fcntl  # Windows has none

    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise UserError(
                    f"another process works in {folder}; wait for it, or choose another --output"
                ) from None
            time.sleep(0.1)
        except OSError:
            return  # a file system without locks
        else:
            return
