"""Locating a data set: a given folder, `BEYONDPROP_DATA`, the user's cache, a download."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from beyondprop.errors import UserError
from beyondprop.tasks.download import download
from beyondprop.tasks.files import LARGEST


@dataclass(frozen=True)
class FileSource:
    """The files of a published data set.

    Attributes:
        name: Name of the data set.
        folders: Possible folders of the files within a data folder; the cache uses the first.
        files: Name of each file to the hash of its content, see `files.check`; None if no hash is
            published.
        urls: Mirrors, with a slash at the end, that have each file; empty if there are none.
        gzipped: Whether each file may be compressed, with ".gz" after its name, as on the mirrors;
            the hash is always that of the decompressed content.
        others: Name of a file to an alternative name.
        page: Where to get files that no mirror has individually, as an address or in words.
        largest: Maximum size in bytes of a file, compressed or not: larger files are neither
            downloaded nor unpacked.
    """

    name: str
    folders: tuple[str, ...]
    files: Mapping[str, str | None]
    urls: tuple[str, ...] = ()
    gzipped: bool = True
    others: Mapping[str, str] = field(default_factory=dict)
    page: str = ""
    largest: int = LARGEST

    @property
    def published(self) -> dict[str, str]:
        """Name of each file to the name under which it is published."""
        compressed = self.gzipped and self.urls
        return {name: f"{name}.gz" if compressed else name for name in self.files}


def find(source: FileSource, folder: Path | None = None) -> dict[str, Path]:
    """Return the paths of a data set's files, and download them to the user's cache if necessary.

    Args:
        source: The data set.
        folder: If given, the only place to search: it must contain the files, directly or in one of
            `source.folders`, possibly one folder deeper. Otherwise the data folder that
            `BEYONDPROP_DATA` names, the user's cache and a download are tried in this order.

    A file may be in a folder with its own name, as some programs unpack it.

    Returns:
        Path of each of `source.files`; their content is not checked here.

    Raises:
        UserError: The files are in none of these places.
    """
    return find_any((source,), folder)[1]


def find_any(
    sources: Sequence[FileSource], folder: Path | None = None
) -> tuple[FileSource, dict[str, Path]]:
    """Like `find`, for a data set that is available in several forms, the preferred one first.

    Each place is searched for all forms before the next place. The first form that has mirrors is
    downloaded, and error messages name it; if none has mirrors, they name the first form.

    Returns:
        The form that was found, and the path of each of its files.

    Raises:
        UserError: None of them is in any of these places.
    """
    wanted = next((source for source in sources if source.urls), sources[0])
    if folder is not None:
        folder = folder.expanduser()
        found = _look_in(folder, sources, itself=True)
        if found is None:
            near = _partial(folder, sources, itself=True) or _content(folder)
            raise UserError(f"{wanted.name} is not in {folder}{near}; {_advice(wanted)} there")
        return found
    *named, cache = _places()
    for place in (*named, cache):
        if found := _look_in(place, sources):
            return found
    for place in named:  # an incomplete copy there should not cause a download
        if near := _partial(place, sources):
            raise UserError(f"{wanted.name} is not in {place}{near}; add them or move the rest")
    if not wanted.urls:
        raise UserError(f"{wanted.name} is not on this machine; {_advice(wanted)} {NAMED}")
    return wanted, _download_to(cache_folder() / wanted.folders[0], wanted)


def cache_folder() -> Path:
    """`BEYONDPROP_CACHE` if set, otherwise the platform's folder for user caches."""
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
    if not Path(named).expanduser().is_dir():  # a typing error should not cause a download
        raise UserError(
            f"BEYONDPROP_DATA names {named}, which is not a folder; correct or unset it"
        )
    return [Path(named).expanduser(), cache_folder()]


def _look_in(
    place: Path, sources: Sequence[FileSource], itself: bool = False
) -> tuple[FileSource, dict[str, Path]] | None:
    for folders in (_folders, _deeper_folders):
        for source in sources:
            for folder in folders(place, source, itself):
                found = _files(folder, source)
                if len(found) == len(source.files):
                    return source, found
    return None


def _folders(place: Path, source: FileSource, itself: bool) -> list[Path]:
    return [place / folder for folder in (*source.folders, *(["."] if itself else []))]


def _deeper_folders(place: Path, source: FileSource, itself: bool) -> list[Path]:
    """Return the folders of a folder in `place`, and `place` itself if it may contain the files."""
    ends = {Path(*Path(folder).parts[1:]) for folder in source.folders} - {Path()}
    own = [place / end for end in sorted(ends)] if itself else []
    try:
        inner = sorted(path for path in place.iterdir() if path.is_dir())
    except OSError:  # not a folder, or one that may not be read
        inner = []
    return own + [path / folder for path in inner for folder in source.folders]


def _partial(place: Path, sources: Sequence[FileSource], itself: bool = False) -> str:
    """Return what is missing if some of a form's files are present, to follow "is not in"."""
    for source in sources:
        folders = _folders(place, source, itself) + _deeper_folders(place, source, itself)
        for folder in folders:
            found = _files(folder, source)
            if missing := [name for name in source.files if found and name not in found]:
                return f": {folder} lacks {', '.join(missing)}"
    return ""


SHOWN = 5
NAMED = "in a folder that data= or BEYONDPROP_DATA names"


def _content(folder: Path) -> str:
    """Return what a folder contains instead, to follow "is not in"."""
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError:
        return ", which is not a folder that can be read"
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f", which holds {', '.join(names[:SHOWN]) or 'nothing'}{more}"


def _files(folder: Path, source: FileSource) -> dict[str, Path]:
    return {name: path for name in source.files if (path := _file(folder, name, source))}


def _file(folder: Path, name: str, source: FileSource) -> Path | None:
    spelled = [name, *filter(None, [source.others.get(name)])]
    names = [each + end for each in spelled for end in (("", ".gz") if source.gzipped else ("",))]
    candidates = [folder / each for each in names]
    candidates += [folder / outer / inner for outer in names for inner in names]
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
                download(urls, found[name], digest, source.gzipped, source.largest)
    except UserError as error:
        raise UserError(
            f"{source.name} is not on this machine and {error}; or {_advice(source)} {NAMED}"
        ) from error
    return found


def _advice(source: FileSource) -> str:
    names = ", ".join(source.published.values())
    got = f", from {source.page}," if source.page else ""
    return f"put its files ({names}){got} into a folder {source.folders[0]}/"
