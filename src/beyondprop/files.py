"""Files that are written as a whole or not at all, and JSON that is read with one plain error."""

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
"""Key of a JSON file's digest: of all that stands beside it; see `digest`."""
PIECE = re.compile("[0-9a-f]{20}")
"""Of a digest, wherever it was cut."""
SEAL = b"\nbeyondprop sha256 "
"""Stands between the content of a sealed file and its digest."""
ASIDE = ".beyondprop-tmp"
"""How the names of temporary files end."""
BEGUN = 60.0
"""Seconds within which a file that was made is locked."""
WORKED_IN: list[tuple[Path, int]] = []
"""Folders that this process works in, each with its open handle; see `worked_in`."""


class StorageError(UserError):
    """A file or folder cannot be read or written (missing permission, damaged content, ...)."""


class WriteError(StorageError):
    """A file cannot be written now (full disk, ...), but can when that is mended."""


def write_bytes(path: Path, content: bytes) -> None:
    """Put `content` at `path` so that a reader sees the old file or the whole new one.

    A link is followed: what it names is replaced. What is no regular file (a device, a pipe) is
    written to.

    Args:
        path: The file; its folder is made if need be.
        content: All of the file.

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
    """Whether something stands at `path`, or where its link leads, that is neither a regular file
    nor a folder.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _write_to(path: Path, content: bytes) -> None:
    """Write into what cannot be replaced."""
    # Without this flag a pipe that nobody reads would keep the process waiting for ever.
    handle = os.open(path, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(handle, "wb") as file:
        if sys.platform != "win32":
            os.set_blocking(handle, True)
        file.write(content)


def _replace(path: Path, content: bytes) -> None:
    """Write a new file, and give it the name and the permissions of the old one."""
    aside = path.with_name(f".{path.name}.{uuid4().hex[:12]}{ASIDE}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.touch(exist_ok=False)
        with _locked(aside):  # says that this process lives: see `remove_asides`
            with aside.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())  # or a power cut could leave the new name with no content
            with suppress(OSError):  # there is no old one, or its disk knows no permissions
                aside.chmod(stat.S_IMODE(path.stat().st_mode))
            aside.replace(path)
    finally:
        discard(aside)


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Lock a file, where the system has locks."""
    if sys.platform == "win32":  # which does not rename a file that is open
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
        Whether it is locked now; False where another process has it, None where the system has no
        such locks (Windows, some network file systems).
    """
    if sys.platform == "win32":
        return None
    import fcntl  # Windows has none

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def is_aside(file: Path) -> bool:
    """Whether a file is a temporary one, of a process that writes it or was killed meanwhile."""
    return file.name.startswith(".") and file.name.endswith(ASIDE)


def remove_asides(folder: Path) -> None:
    """Remove what killed processes left half-written in a folder; files of living ones stay."""
    for file in filter(is_aside, list(folder.iterdir())):
        try:
            handle = os.open(file, os.O_RDONLY)
        except OSError:
            continue  # it has just got its name
        found = os.fstat(handle)
        # A file without content may have been made just now, and not be locked yet.
        if (found.st_size or time.time() - found.st_mtime > BEGUN) and lock(handle):
            discard(file)
        os.close(handle)


@contextmanager
def worked_in(folder: Path, handle: int) -> Iterator[None]:
    """Write within a folder only as long as it is the one that was opened.

    Args:
        folder: In which this process works.
        handle: Of the folder, open as long as this lasts.
    """
    entry = (folder.absolute(), handle)
    WORKED_IN.append(entry)
    try:
        yield
    finally:
        WORKED_IN.remove(entry)


def check_worked_in(path: Path) -> None:
    """Refuse to write where a folder that this process works in is no longer.

    Raises:
        StorageError: It was deleted, moved or replaced: what is written there would lack its rest,
            or be mixed with something else.
    """
    place = path.absolute()
    for folder, handle in WORKED_IN:
        if place.is_relative_to(folder) and not is_at(handle, folder):
            raise StorageError(
                f"{folder} was deleted, moved or replaced while this process worked in it, so "
                "nothing more is written there; move it back and add resume=True, or start over"
            )


def is_at(handle: int, folder: Path) -> bool:
    """Whether an open folder is still the one that is found at its path."""
    try:
        return os.path.samestat(os.fstat(handle), folder.stat())
    except OSError:
        return False


def write_sealed(path: Path, content: bytes) -> None:
    """Write `content` with its digest behind it, atomically."""
    write_bytes(path, content + _seal(content))


def read_sealed(path: Path) -> bytes | None:
    """Return what `write_sealed` wrote; None where that is not what the file holds.

    Raises:
        OSError: It cannot be read.
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
    # A lone surrogate, as of a file name in another encoding, is written as JSON's escape for it.
    write_bytes(path, (text + "\n").encode(errors="backslashreplace"))


def digest(value: dict[str, Any]) -> str:
    """Return the SHA-256 of a JSON object: of its text with sorted keys, no spaces and in ASCII."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def append_text(path: Path, text: str) -> None:
    """Add `text` to the end of `path`; for logs that can be made again from a checkpoint."""
    try:
        check_worked_in(path)
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise cannot("write", path, error) from None


def read_json(path: Path, mend: str = "delete it and run again") -> dict[str, Any] | None:
    """Return the object in a JSON file without its digest, or None where there is no such file.

    Args:
        path: The file; one without a digest, as an earlier version wrote it, is read as it is.
        mend: What to do where it is damaged.

    Raises:
        StorageError: The file cannot be read, holds something else, or not what was written.
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
            raise StorageError(f"{path} is damaged (its content does not fit its {DIGEST}); {mend}")
        found: dict[str, Any] = finite(value)
    except (ValueError, RecursionError):  # thousands of brackets within one another
        raise StorageError(f"{path} is damaged (it holds no JSON object); {mend}") from None
    return found


def _misnamed(value: dict[str, Any]) -> bool:
    """Whether an object holds what is left of a digest, which nobody would look at by its name."""
    return any(
        PIECE.search(text)
        for name, entry in value.items()
        if not name.endswith(f"_{DIGEST}")
        for text in (name, entry)
        if isinstance(text, str)
    )


def finite(value: Any) -> Any:
    """`value` as plain JSON containers; NaN and infinities become None, as JSON has neither.

    So do whole numbers of more than 64 bits, which few readers of JSON can compute with.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, int) and abs(value) >= 2**64:
        return None
    if isinstance(value, dict):
        return {str(key): finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):  # long ones are of numbers: a call for each takes longer
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
        return  # a stray aside file does no harm, and the first error is the one to report


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
    """Return a path that a user gave.

    Raises:
        UserError: It is none.
    """
    check_type("the path", path, (str, os.PathLike), "a text or a pathlib.Path")
    return Path(path)  # type: ignore[arg-type]  # it was seen to be one
