"""Reading data files, compressed or not, and verifying that they are the published ones.

A small compressed file can unpack to gigabytes: the size of unpacked content is limited.
"""

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

from beyondprop.errors import UserError

LARGEST = 2**28
"""Maximum size in bytes of a published file, unless its data set has another limit."""

RATIO = 64
"""Maximum ratio of unpacked to packed size for a user's file, if that is above LARGEST."""

PIECE = 2**20
LONGEST_LINE = 2**20


def read(
    path: Path, digest: str | None = None, unpack: bool = True, largest: int = LARGEST
) -> bytes:
    """Content of a file, decompressed if it is gzip.

    Args:
        path: The file; gzip is recognised by its first bytes, not by its name.
        digest: Hash of the decompressed content, see `check`. The hash of a .gz file is of little
            use: its header contains a name and a date, and differs between mirrors.
        unpack: False keeps gzip compressed, for an archive whose own hash is published.
        largest: Maximum size in bytes of the content of a file with a hash.

    Raises:
        UserError: The file cannot be read, is damaged, unpacks to more than the limit, or is not
            the expected one.
    """
    try:
        size = path.stat().st_size
        most = largest if digest is not None else max(LARGEST, RATIO * size)
        if digest is not None and size > largest:
            raise _other(path, largest)
        content = path.read_bytes()
        if unpack and content.startswith(b"\x1f\x8b"):
            content = _unpacked(content, path, most, digest is not None)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path} is damaged ({error}); replace or delete it") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from error
    if digest is not None:
        check(content, str(path), digest)
    return content


def lines(path: Path) -> Iterator[str]:
    """Yield the lines of a text file one at a time, as it may be larger than memory.

    Raises:
        UserError: It cannot be read, is not UTF-8, or has a line of more than LONGEST_LINE bytes.
    """
    try:
        with path.open("rb") as file:
            compressed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if compressed else path.open("rb") as text:
            while line := text.readline(LONGEST_LINE + 1):
                if len(line) > LONGEST_LINE:
                    raise UserError(f"{path} has a line of more than {LONGEST_LINE:,} bytes")
                yield line.decode("utf-8")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error})") from error


def arrays(path: Path, names: tuple[str, ...], what: str) -> list[NDArray[Any]]:
    """Return the arrays with these names in an .npz file.

    Args:
        path: The file.
        names: The arrays.
        what: Their description for error messages.

    Raises:
        UserError: It cannot be read, lacks an array, or unpacks to more than the limit.
    """
    try:
        with path.open("rb") as stream:
            _check_sizes(stream, max(LARGEST, RATIO * path.stat().st_size))
            with np.load(stream, allow_pickle=False) as found:
                return [found[name] for name in names]
    except Exception as error:  # zip, zlib and NumPy have different errors
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path} cannot be read as {what} ({reason}); replace it") from error


def _check_sizes(stream: BinaryIO, most: int) -> None:
    """Raise if a zip file unpacks to too much according to its directory, which readers obey."""
    with ZipFile(stream) as parts:
        size = sum(part.file_size for part in parts.infolist())
    if size > most:
        raise ValueError(f"it unpacks to {size:,} bytes, which is more than {most:,}")
    stream.seek(0)


def _unpacked(content: bytes, path: Path, most: int, published: bool) -> bytes:
    found = bytearray()
    with gzip.GzipFile(fileobj=BytesIO(content)) as packed:
        while piece := packed.read(PIECE):
            found += piece
            if len(found) > most:
                if published:
                    raise _other(path, most)
                raise UserError(
                    f"{path} unpacks to more than {RATIO} times its size and {most:,} bytes: if "
                    "that is right, unpack it yourself and give the unpacked file"
                )
    return bytes(found)


def _other(path: Path, largest: int) -> UserError:
    return UserError(
        f"{path} is damaged or belongs to another data set (it has more than {largest:,} bytes); "
        "replace or delete it"
    )


def check(content: bytes, name: str, digest: str) -> None:
    """Verify that bytes are the published ones.

    Args:
        content: The bytes.
        name: Name for error messages.
        digest: Their SHA-256 or, if only that is published, MD5; the lengths distinguish them.

    Raises:
        UserError: They are not.
    """
    kind = "MD5" if len(digest) == 32 else "SHA-256"
    found = hashlib.new(kind.replace("-", ""), content, usedforsecurity=False)
    if found.hexdigest() != digest:
        raise UserError(
            f"{name} is damaged or belongs to another data set (its {kind} is not the published "
            "one); replace or delete it"
        )


def check_own(path: Path, folder: Path | None) -> None:
    """Raise if a task whose sizes come from one file is given another data folder.

    Raises:
        UserError: A data folder is given.
    """
    if folder is not None:
        raise UserError(
            f"the task's model has the classes of {path}: leave out data=, and give the path of "
            "another file to the task itself"
        )
