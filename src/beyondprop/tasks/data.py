"""Finding a data set: a given folder, `BEYONDPROP_DATA`, the user's cache, a download."""

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from beyondprop.errors import UserError
from beyondprop.tasks.download import download


@dataclass(frozen=True)
class Source:
    """The files of a published data set.

    Attributes:
        name: As people know it.
        folders: Where the files may lie within a data folder; the cache uses the first.
        files: Name of each file to the SHA-256 of its content. On disk it may be compressed,
            with ".gz" after its name; the hash is that of the decompressed content.
        urls: Mirrors, with a slash at the end, that have each file with ".gz" after its name.
    """

    name: str
    folders: tuple[str, ...]
    files: Mapping[str, str]
    urls: tuple[str, ...]


def find(source: Source, folder: Path | None = None) -> dict[str, Path]:
    """Where the files of a data set are; downloads them to the user's cache if need be.

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
    if folder is not None:
        folder = folder.expanduser()
        found = _look_in((folder / name for name in (*source.folders, ".")), source)
        if found is None:
            raise UserError(f"{source.name} is not in {folder}; {_wanted(source)} there")
        return found

    places = _places()
    found = _look_in((place / name for place in places for name in source.folders), source)
    return found or _download_to(cache_folder() / source.folders[0], source)


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


def _look_in(folders: Iterable[Path], source: Source) -> dict[str, Path] | None:
    for folder in folders:
        found = {name: path for name in source.files if (path := _existing(folder, name))}
        if len(found) == len(source.files):
            return found
    return None


def _existing(folder: Path, name: str) -> Path | None:
    candidates = (folder / name, folder / f"{name}.gz")
    return next((path for path in candidates if path.is_file()), None)


def _download_to(folder: Path, source: Source) -> dict[str, Path]:
    found = {}
    try:
        for name, sha256 in source.files.items():
            found[name] = _existing(folder, name) or folder / f"{name}.gz"
            if not found[name].exists():
                download([f"{url}{name}.gz" for url in source.urls], found[name], sha256)
    except UserError as error:
        raise UserError(
            f"{source.name} is not on this machine and {error}; or {_wanted(source)} in a folder "
            "that --data or BEYONDPROP_DATA names"
        ) from error
    return found


def _wanted(source: Source) -> str:
    names = ", ".join(f"{name}.gz" for name in source.files)
    return f"put its files ({names}) into a folder {source.folders[0]}/"
