"""Downloading one file with a known hash from an untrusted server."""

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from threading import Thread
from typing import BinaryIO

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from beyondprop.errors import UserError, install
from beyondprop.files import is_special
from beyondprop.tasks import files

TIMEOUT = 15  # seconds without an answer
GRACE = 30  # seconds in which a server may be arbitrarily slow
SLOWEST = 10_000  # minimum average bytes per second after that
LONGEST = 3600  # seconds that one address may take
PIECE = 2**16


def download(
    urls: Sequence[str],
    target: Path,
    digest: str,
    unpack: bool = True,
    largest: int = files.LARGEST,
) -> None:
    """Download a file from the first address that has it; it is written complete and verified, or
    not at all.

    Args:
        urls: Its addresses.
        target: Where to write it; the folder is created.
        digest: Hash of its content, see `files.check`.
        unpack: Whether this is the hash of the decompressed content, see `files.read`.
        largest: Maximum size in bytes: no more is received or unpacked.

    Raises:
        UserError: `requests` is not installed, the folder cannot be written, or no address has the
            file: it has another one, a larger one, or takes too long.
    """
    try:
        import requests  # noqa: F401
    except ImportError as error:
        raise UserError(f"downloading needs requests: {install('data')}") from error
    try:
        if is_special(target):
            raise UserError(f"{target} is not a regular file, so no download can replace it")
        target = Path(os.path.realpath(target))  # a link is preserved
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = tempfile.TemporaryDirectory(dir=target.parent, ignore_cleanup_errors=True)
    except OSError as error:
        raise UserError(f"{target.parent} cannot be written ({error.strerror})") from error

    failures = []
    with aside as folder, _progress() as progress:
        for number, url in enumerate(urls):
            path = Path(folder, str(number), target.name)
            path.parent.mkdir()
            try:
                _Transfer(url, path, largest, progress).finish()
                files.read(path, digest, unpack, largest)
                path.replace(target)
                return
            except UserError:
                failures.append(f"{url}: not the published file")
            except Exception as error:  # anything that a server or its certificate causes
                reason = getattr(error, "strerror", None) or type(error).__name__
                failures.append(f"{url}: {reason}")
    raise UserError(f"no download worked ({'; '.join(failures)})")


class _Transfer(Thread):
    """The transfer of a file from one address.

    It runs in a separate thread, because a server that sends a byte now and then triggers no
    timeout. A transfer that is given up ends with its next piece, or with the process.
    """

    def __init__(self, url: str, path: Path, largest: int, progress: Progress) -> None:
        super().__init__(daemon=True)
        self.url, self.path, self.largest, self.progress = url, path, largest, progress
        self.task = progress.add_task(path.name, total=None)
        self.received, self.given_up = 0, False
        self.failure: Exception | None = None

    def finish(self) -> None:
        """Receive the file.

        Raises:
            TimeoutError: It takes too long.
            Exception: Any error of the transfer.
        """
        started = time.monotonic()
        self.start()
        while self.is_alive():
            self.join(0.05)
            seconds = time.monotonic() - started
            slow = seconds > GRACE and self.received < SLOWEST * seconds
            if self.is_alive() and (slow or seconds > LONGEST):
                self.given_up = True
                raise TimeoutError(0, f"too slow ({self.received:,} bytes in {seconds:.0f} s)")
        if self.failure is not None:
            raise self.failure

    def run(self) -> None:
        """Receive all pieces; an error is stored for `finish`."""
        import requests

        try:
            with (
                self.path.open("wb") as file,
                requests.get(self.url, stream=True, timeout=TIMEOUT) as response,
            ):
                response.raise_for_status()
                self._tell_size(response.headers.get("content-length", ""))
                for piece in response.iter_content(PIECE):
                    self._receive(file, piece)
        except Exception as error:
            self.failure = error

    def _tell_size(self, told: str) -> None:
        size = int(told) if told.isdecimal() and len(told) < 16 else None
        if size is not None and size > self.largest:
            raise self._too_large()
        self.progress.update(self.task, total=size)

    def _receive(self, file: BinaryIO, piece: bytes) -> None:
        self.received += len(piece)
        if self.received > self.largest:
            raise self._too_large()
        if self.given_up:
            raise TimeoutError
        file.write(piece)
        self.progress.update(self.task, completed=self.received)

    def _too_large(self) -> OSError:
        return OSError(0, f"it has more than {self.largest:,} bytes")


def _progress() -> Progress:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    return Progress(*columns, console=Console(stderr=True, markup=False), transient=True)
