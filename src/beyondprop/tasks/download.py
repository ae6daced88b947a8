"""Downloading one file whose content is known."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from beyondprop.errors import UserError
from beyondprop.files import is_special
from beyondprop.tasks import files

TIMEOUT = 15  # seconds without an answer


def download(urls: Sequence[str], target: Path, digest: str, unpack: bool = True) -> None:
    """Get a file from the first address that has it; it appears whole and verified, or not at all.

    Args:
        urls: Its addresses.
        target: Where to write it; the folder is made.
        digest: Hash of its content, see `files.check`.
        unpack: Whether it is that of the decompressed content, see `files.read`.

    Raises:
        UserError: `pooch` is not installed, the folder cannot be written, or no address gives
            the file.
    """
    try:
        from pooch import HTTPDownloader
    except ImportError as error:
        raise UserError('downloading needs pip install "beyondprop[data]"') from error
    try:
        if is_special(target):
            raise UserError(
                f"{target} is no regular file, so nothing can be downloaded in its place"
            )
        target = Path(os.path.realpath(target))  # a link stays one
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = tempfile.TemporaryDirectory(dir=target.parent)
    except OSError as error:
        raise UserError(f"{target.parent} cannot be written ({error.strerror})") from error

    failures = []
    with aside as folder, _progress() as progress:
        path = Path(folder, target.name)
        for url in urls:
            fetch = HTTPDownloader(_Bar(progress, target.name), 1 << 16, timeout=TIMEOUT)
            try:
                fetch(url, str(path), None)
                files.read(path, digest, unpack)
                path.replace(target)
                return
            except OSError as error:  # requests' errors are OSErrors too
                failures.append(f"{url}: {error.strerror or type(error).__name__}")
            except UserError:
                failures.append(f"{url}: not the published file")
    raise UserError(f"no download worked ({'; '.join(failures)})")


def _progress() -> Progress:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    return Progress(*columns, console=Console(stderr=True, markup=False), transient=True)


class _Bar:
    """What pooch calls a progress bar, drawn by rich."""

    def __init__(self, progress: Progress, name: str) -> None:
        self._progress = progress
        self._task = progress.add_task(name, total=None)
        self.total = 0  # bytes; pooch sets it when the server has told

    def update(self, size: int) -> None:
        self._progress.update(self._task, advance=size, total=self.total or None)

    def reset(self) -> None:
        self._progress.update(self._task, completed=0)

    def close(self) -> None:
        self._progress.stop_task(self._task)
