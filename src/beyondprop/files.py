"""Atomic writing of files, and JSON that is read with one plain error."""

import hashlib
import json
import math
import os
import re
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from beyondprop.errors import UserError, check_type

GIB = 2**30
DIGEST = "sha256"
"""Key of a JSON file's digest, which covers all other keys; see `digest`."""
PIECE = re.compile("[0-9a-f]{20}")
"""Matches part of a digest."""
SEAL = b"\nbeyondprop sha256 "
"""Separates the content of a sealed file from its digest."""
ASIDE = ".beyondprop-tmp"
"""Suffix of temporary files."""
BEGUN = 60.0
"""Seconds within which a new file is locked."""
WORKED_IN: list[tuple[Path, int]] = []
"""Folders that this process works in, each with its open handle; see `worked_in`."""


class StorageError(UserError):
    """A file or folder cannot be read or written (missing permission, damaged content, ...)."""


class WriteError(StorageError):
    """A file cannot be written until a passing cause (a full disk, ...) is removed."""


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that a reader sees the old file or the complete new one.

    A link is followed: its target is replaced. A special file (a device, a pipe) is written to.

    Args:
        path: The file; its folder is created if necessary.
        content: The complete content of the file.

    Raises:
        StorageError: The disk is full, the folder is not writable, ...
    """
    try:
        check_worked_in(path)
        if is_special(path):
            _write_to(path, content)
        else:
            _replace(Path(os.path.realpath(path)), content)
    except OSError as error:
        raise cannot("write", path, error) from None


def is_special(path: Path) -> bool:
    """Whether `path`, or the target of its link, exists and is neither a regular file nor a
    folder."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _write_to(path: Path, content: bytes) -> None:
    """Write to a special file, which cannot be replaced."""
    # Without this flag the process would wait forever for a pipe without a reader.
    handle = os.open(path, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(handle, "wb") as file:
        if sys.platform != "win32":
            os.set_blocking(handle, True)
        file.write(content)


def _replace(path: Path, content: bytes) -> None:
    """Write a new file with the name and the permissions of the old one."""
    aside = path.with_name(f".{path.name}.{uuid4().hex[:12]}{ASIDE}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.touch(exist_ok=False)
        with _locked(aside):  # shows that this process is alive: see `remove_asides`
            with aside.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())  # or a power cut could leave the new name with no content
            with suppress(OSError):  # no old file, or a file system without permissions
                aside.chmod(stat.S_IMODE(path.stat().st_mode))
            aside.replace(path)
    finally:
        discard(aside)


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Lock a file, where the system has locks."""
    if sys.platform == "win32":  # it does not rename open files
        yield
        return
    handle = os.open(file, os.O_RDONLY)
    try:
        lock(handle)
        yield
    finally:
        os.close(handle)


def lock(handle: int) -> bool | None:
    """Lock an open file or folder until it is closed or the process ends, however it ends.

    Returns:
        Whether it is locked now; False if another process holds the lock, None if the system has no
        such locks (Windows, some network file systems).
    """
    if sys.platform == "win32":
        return None
    import fcntl  # not available on Windows

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def is_aside(file: Path) -> bool:
    """Whether a file is a temporary one, of a process that is writing it or was killed."""
    return file.name.startswith(".") and file.name.endswith(ASIDE)


def remove_asides(folder: Path) -> None:
    """Remove the temporary files of killed processes from a folder; those of running ones stay."""
    for file in filter(is_aside, list(folder.iterdir())):
        try:
            handle = os.open(file, os.O_RDONLY)
        except OSError:
            continue  # it has just been renamed
        found = os.fstat(handle)
        # An empty file may be new and not locked yet.
        if (found.st_size or time.time() - found.st_mtime > BEGUN) and lock(handle):
            discard(file)
        os.close(handle)


@contextmanager
def worked_in(folder: Path, handle: int) -> Iterator[None]:
    """Allow writing within a folder only while it is still the folder that was opened.

    Args:
        folder: The folder that this process works in.
        handle: Its handle, which stays open meanwhile.
    """
    entry = (folder.absolute(), handle)
    WORKED_IN.append(entry)
    try:
        yield
    finally:
        WORKED_IN.remove(entry)


def check_worked_in(path: Path) -> None:
    """Raise an error if `path` is within a working folder that no longer exists at its place.

    Raises:
        StorageError: The folder was deleted, moved or replaced, so the files written there would be
            incomplete or mixed with others.
    """
    place = path.absolute()
    for folder, handle in WORKED_IN:
        if place.is_relative_to(folder) and not is_at(handle, folder):
            raise StorageError(
                f"{folder} was deleted, moved or replaced while this process worked in it, so "
                "nothing more is written there; move it back and add resume=True, or start over"
            )


def is_at(handle: int, folder: Path) -> bool:
    """Whether an open folder is still the folder at its path."""
    try:
        return os.path.samestat(os.fstat(handle), folder.stat())
    except OSError:
        return False


def write_sealed(path: Path, content: bytes) -> None:
    """Write `content` followed by its digest, atomically."""
    write_bytes(path, content + _seal(content))


def read_sealed(path: Path) -> bytes | None:
    """Return the content that `write_sealed` wrote; None if the digest does not match.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:  # in two parts, so that the larger one is not copied
        content = file.read(max(0, os.fstat(file.fileno()).st_size - len(_seal(b""))))
        return content if file.read() == _seal(content) else None


def _seal(content: bytes) -> bytes:
    return SEAL + hashlib.sha256(content).hexdigest().encode()


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write `value` with its digest, atomically; numbers that are not finite become null."""
    plain = finite(value)
    sealed = plain | {DIGEST: digest(plain)}
    text = json.dumps(sealed, indent=1, allow_nan=False, ensure_ascii=False)
    # A lone surrogate, e.g. from a file name in another encoding, is written as a JSON escape.
    write_bytes(path, (text + "\n").encode(errors="backslashreplace"))


def digest(value: dict[str, Any]) -> str:
    """Return the SHA-256 of a JSON object, written with sorted keys, without spaces, in ASCII."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def append_text(path: Path, text: str) -> None:
    """Append `text` to `path`, not atomically; for logs that a checkpoint can restore."""
    try:
        check_worked_in(path)
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise cannot("write", path, error) from None


def read_json(path: Path, mend: str = "delete it and run again") -> dict[str, Any] | None:
    """Return the object in a JSON file without its digest, or None if the file does not exist.

    Args:
        path: The file; a file of an earlier version, without a digest, is read unchecked.
        mend: The advice of the message if it is damaged.

    Raises:
        StorageError: The file cannot be read, holds no JSON object, or does not match its digest.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise cannot("read", path, error) from None
    try:
        value = json.loads(content)
        if not isinstance(value, dict):
            raise ValueError("it holds no JSON object")
        written = value.pop(DIGEST, None)
        if _misnamed(value) if written is None else written != digest(value):
            raise StorageError(
                f"{path} is damaged (its content does not match its {DIGEST}); {mend}"
            )
        found: dict[str, Any] = finite(value)
    except (ValueError, RecursionError):  # the latter from thousands of nested brackets
        raise StorageError(f"{path} is damaged (it holds no JSON object); {mend}") from None
    return found


def _misnamed(value: dict[str, Any]) -> bool:
    """Whether an object without a digest holds part of one, under a damaged name."""
    return any(
        PIECE.search(text)
        for name, entry in value.items()
        if not name.endswith(f"_{DIGEST}")
        for text in (name, entry)
        if isinstance(text, str)
    )


def finite(value: Any) -> Any:
    """Return `value` as plain JSON containers; NaN and infinities become None, as JSON has neither.

    Whole numbers of more than 64 bits also become None, as few readers of JSON support them.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, int) and abs(value) >= 2**64:
        return None
    if isinstance(value, dict):
        return {str(key): finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):  # fast for long lists of numbers: no call per entry
        plain = math.isfinite
        return [
            entry if type(entry) is float and plain(entry) else finite(entry) for entry in value
        ]
    if isinstance(value, Path):
        return str(value)
    return value


def discard(file: Path) -> None:
    """Delete a temporary file if it can be deleted."""
    try:
        file.unlink(missing_ok=True)
    except OSError:
        return  # a stray temporary file does no harm; the first error is the one to report


def cannot(verb: str, path: Path, error: OSError) -> StorageError:
    """Return the one-sentence error for a file that cannot be read or written."""
    if isinstance(error, FileExistsError | NotADirectoryError):
        return StorageError(f"cannot {verb} {path}: there is a file where its folder should be")
    if isinstance(error, IsADirectoryError):
        return StorageError(f"cannot {verb} {path}: there is a folder where the file should be")
    reason = error.strerror or str(error)
    if verb == "write":
        return WriteError(f"cannot write {path}: {reason}; what was written before is intact")
    return StorageError(f"cannot {verb} {path}: {reason}")


def path_of(path: object) -> Path:
    """Return a user's argument as a path.

    Raises:
        UserError: It is not a path.
    """
    check_type("the path", path, (str, os.PathLike), "a text or a pathlib.Path")
    return Path(path)  # type: ignore[arg-type]  # checked above
