"""Files that are written as a whole or not at all, and JSON that is read with one plain error."""

import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any

from beyondprop.errors import UserError

GIB = 2**30
DIGEST = "sha256"
"""Key of a JSON file's digest: of all that stands beside it; see `digest`."""


class StorageError(UserError):
    """A file or folder cannot be read or written (missing permission, damaged content, ...)."""


class WriteError(StorageError):
    """A file cannot be written now (full disk, ...), but can when that is mended."""


def write_bytes(path: Path, content: bytes) -> None:
    """Put `content` at `path` so that a reader sees the old file or the whole new one.

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
        raise cannot("write", path, error) from None
    finally:
        discard(aside)


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
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise cannot("read", path, error) from None
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise StorageError(f"{path} is damaged (it holds no JSON object); {mend}")
    written = value.pop(DIGEST, None)
    if written is not None and written != digest(value):
        raise StorageError(f"{path} is damaged (its content does not fit its {DIGEST}); {mend}")
    return value


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
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
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
        return StorageError(f"cannot {verb} {path}: a file stands where its folder should be")
    if isinstance(error, IsADirectoryError):
        return StorageError(f"cannot {verb} {path}: a folder stands where the file should be")
    reason = error.strerror or str(error)
    if verb == "write":
        return WriteError(f"cannot write {path}: {reason}; what was written before is intact")
    return StorageError(f"cannot {verb} {path}: {reason}")
