"""Folders and files of experiments: written atomically, refused when they are somebody else's."""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path
from typing import Any

from beyondprop.errors import UserError

SPEC = "spec.json"
NOT_COMPARED = ("data",)
"""Fields of a spec that a folder may be resumed without: the data may lie elsewhere by then."""

ADDED = {"schedule": "joint"}
"""Fields that the specs of earlier versions lack, with what was done then."""


class StorageError(UserError):
    """A file or folder cannot be read or written (missing permission, damaged content, ...)."""


class WriteError(StorageError):
    """A file cannot be written now (full disk, ...), but can when that is mended."""


def write_bytes(path: Path, content: bytes) -> None:
    """Puts `content` at `path` so that a reader sees the old file or the whole new one.

    Args:
        path: The file; its folder is made if need be.
        content: All of the file.

    Raises:
        StorageError: The disk is full, the folder is not writable, ...
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.beyondprop-tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # or a power cut could leave the new name with no content
        aside.replace(path)
    except OSError as error:
        raise _cannot("write", path, error) from None
    finally:
        _discard(aside)


def write_json(path: Path, value: object) -> None:
    """Writes `value` as JSON, atomically; numbers that are not finite become null."""
    text = json.dumps(finite(value), indent=1, allow_nan=False, ensure_ascii=False)
    write_bytes(path, (text + "\n").encode())


def append_text(path: Path, text: str) -> None:
    """Adds `text` to the end of `path`; for logs that can be made again from a checkpoint."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise _cannot("write", path, error) from None


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file, or None where there is no such file.

    Raises:
        StorageError: The file cannot be read or holds something else.
    """
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _cannot("read", path, error) from None
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise StorageError(f"{path} is damaged (it holds no JSON object); delete it and run again")
    return value


def check_claim(folder: Path, spec: dict[str, Any], resume: bool) -> None:
    """Checks that `folder` may be used for `spec`: missing, empty, or the same and resumed.

    Nothing is written, so that a mistake found later leaves no folder behind; where the folder may
    be used, what a killed run left half-written in it is removed.

    Args:
        folder: The run's or comparison's folder.
        spec: What it is to hold: the resolved spec, as JSON.
        resume: Whether what the folder holds may be continued.

    Raises:
        UserError: The folder holds something and `resume` is off, or it holds another spec.
        StorageError: It cannot be read.
    """
    files = _content(folder)
    asides = [file for file in files if re.fullmatch(r"\..+\.\d+\.beyondprop-tmp", file.name)]
    if len(files) > len(asides):
        _check_spec(folder, spec, resume)
    for file in asides:
        _discard(file)


def _check_spec(folder: Path, spec: dict[str, Any], resume: bool) -> None:
    if not resume:
        raise UserError(
            f"{folder} is not empty; add --resume to continue what is there, "
            "or choose another --output"
        )
    earlier = read_json(folder / SPEC)
    if earlier is None:
        raise UserError(f"{folder} holds no {SPEC}, so nothing to resume; choose another --output")
    earlier = {key: value for key, value in ADDED.items() if key in spec} | earlier
    differing = [
        key
        for key in spec | earlier
        if key not in NOT_COMPARED and spec.get(key) != earlier.get(key)
    ]
    if differing:
        listed = ", ".join(
            f"{key} ({earlier.get(key)!r} there, {spec.get(key)!r} now)" for key in differing
        )
        raise UserError(
            f"{folder} was made with other settings: {listed}; "
            "use the same settings or choose another --output"
        )


def finite(value: Any) -> Any:
    """`value` as plain JSON containers; NaN and infinities become None, as JSON has neither."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    if isinstance(value, Path):
        return str(value)
    return value


def _content(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _cannot("read", folder, error) from None


def _discard(file: Path) -> None:
    try:
        file.unlink(missing_ok=True)
    except OSError:
        return  # a stray aside file does no harm, and the first error is the one to report


def _cannot(verb: str, path: Path, error: OSError) -> StorageError:
    if isinstance(error, FileExistsError | NotADirectoryError):
        return StorageError(f"cannot {verb} {path}: a file stands where its folder should be")
    if isinstance(error, IsADirectoryError):
        return StorageError(f"cannot {verb} {path}: a folder stands where the file should be")
    reason = error.strerror or str(error)
    if verb == "write":
        return WriteError(f"cannot write {path}: {reason}; what was written before is intact")
    return StorageError(f"cannot {verb} {path}: {reason}")
