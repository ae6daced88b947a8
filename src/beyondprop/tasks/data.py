"""Finding a data set: a given folder, `BEYONDPROP_DATA`, the user's cache, a download."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from beyondprop.errors import UserError
from beyondprop.tasks.download import download


@dataclass(frozen=True)
class FileSource:
    """The files of a published data set.

    Attributes:
        name: As people know it.
        folders: Where the files may lie within a data folder; the cache uses the first.
        files: Name of each file to the hash of its content, see `files.check`; None where none is
            published.
        urls: Mirrors, with a slash at the end, that have each file; empty if there are none.
        gzipped: Whether each file may be compressed, with ".gz" after its name, as the mirrors have
            it; the hash is then that of the decompressed content all the same.
    """

    name: str
    folders: tuple[str, ...]
    files: Mapping[str, str | None]
    urls: tuple[str, ...] = ()
    gzipped: bool = True

    @property
    def published(self) -> dict[str, str]:
        """Each file's name to the one that it is published under."""
        return {name: f"{name}.gz" if self.gzipped else name for name in self.files}


def find(source: FileSource, folder: Path | None = None) -> dict[str, Path]:
    """Return where the files of a data set are; downloads them to the user's cache if need be.

    Args:
        source: The data set.
        folder: If given, the only place to look: it must hold the files, itself or in one of
            `source.folders`. Otherwise the data folder that `BEYONDPROP_DATA` names, the user's
            cache and a download are tried in this order.

    Returns:
        Path of each of `source.files`; their content is not checked here.

    Raises:
        UserError: The files are in none of these places.
    """
    return find_any((source,), folder)[1]


def find_any(
    sources: Sequence[FileSource], folder: Path | None = None
) -> tuple[FileSource, dict[str, Path]]:
    """Like `find`, for a data set that comes in several forms, the preferred one first.

    In each place all forms are looked for before the next place. The first form that has mirrors
    is downloaded, and is what errors ask for.

    Returns:
        The form that was found, and the path of each of its files.

    Raises:
        UserError: None of them is in any of these places.
    """
    wanted = next(source for source in sources if source.urls)
    if folder is not None:
        folder = folder.expanduser()
        found = _look_in(folder, sources, itself=True)
        if found is None:
            raise UserError(f"{wanted.name} is not in {folder}; {_advice(wanted)} there")
        return found
    for place in _places():
        if found := _look_in(place, sources):
            return found
    return wanted, _download_to(cache_folder() / wanted.folders[0], wanted)


def cache_folder() -> Path:
    """`BEYONDPROP_CACHE` if set, else the platform's folder for a user's caches."""
    if named := os.environ.get("BEYONDPROP_CACHE"):
        return Path(named).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA", "~/AppData/Local")
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(base).expanduser() / "beyondprop"


def _places() -> list[Path]:
    named = os.environ.get("BEYONDPROP_DATA")
    if not named:
        return [cache_folder()]
    if not Path(named).expanduser().is_dir():  # a slip of the pen should not end in a download
        raise UserError(
            f"BEYONDPROP_DATA names {named}, which is not a folder; correct or unset it"
        )
    return [Path(named).expanduser(), cache_folder()]


def _look_in(
    place: Path, sources: Sequence[FileSource], itself: bool = False
) -> tuple[FileSource, dict[str, Path]] | None:
    for source in sources:
        for folder in (*source.folders, *(["."] if itself else [])):
            found = {
                name: path for name in source.files if (path := _file(place / folder, name, source))
            }
            if len(found) == len(source.files):
                return source, found
    return None


def _file(folder: Path, name: str, source: FileSource) -> Path | None:
    candidates = (folder / name, folder / source.published[name])
    return next((path for path in candidates if path.is_file()), None)


def _download_to(folder: Path, source: FileSource) -> dict[str, Path]:
    found = {}
    try:
        for name, published in source.published.items():
            found[name] = _file(folder, name, source) or folder / published
            digest = source.files[name]
            assert digest is not None, "what is downloaded has a published hash"
            if not found[name].exists():
                urls = [url + published for url in source.urls]
                download(urls, found[name], digest, source.gzipped)
    except UserError as error:
        raise UserError(
            f"{source.name} is not on this machine and {error}; or {_advice(source)} in a folder "
            "that --data or BEYONDPROP_DATA names"
        ) from error
    return found


def _advice(source: FileSource) -> str:
    names = ", ".join(source.published.values())
    return f"put its files ({names}) into a folder {source.folders[0]}/"
