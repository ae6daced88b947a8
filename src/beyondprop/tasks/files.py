"""Reading data files, compressed or not, and proving that they are the published ones.

A small compressed file can unpack to gigabytes: what is unpacked is counted, and refused where it
is more than an honest file would be.
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
"""Bytes that a published file may have, unless its data set says otherwise."""

RATIO = 64
"""How many times its own size a file of the user's may unpack to, where that is above LARGEST."""

PIECE = 2**20
LONGEST_LINE = 2**20


def read(
    path: Path, digest: str | None = None, unpack: bool = True, largest: int = LARGEST
) -> bytes:
    """Content of a file, decompressed if it is gzip.

    Args:
        path: The file; gzip is recognised by its first bytes, not by its name.
        digest: Hash of the decompressed content, see `check`. That of a .gz file says little: its
            header holds a name and a date, and differs between mirrors.
        unpack: False leaves gzip as it is, for an archive whose own hash is published.
        largest: Bytes that the content of a file with a hash may have.

    Raises:
        UserError: The file cannot be read, is damaged, unpacks to more than an honest one would,
            or is not the expected one.
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
    """Yield the lines of a text file, one after another: it may be larger than the memory.

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
    """Return the arrays of these names in an .npz file.

    Args:
        path: The file.
        names: The arrays.
        what: What errors call them.

    Raises:
        UserError: It cannot be read, lacks one, or unpacks to more than an honest one would.
    """
    try:
        with path.open("rb") as stream:
            _check_sizes(stream, max(LARGEST, RATIO * path.stat().st_size))
            with np.load(stream, allow_pickle=False) as found:
                return [found[name] for name in names]
    except Exception as error:  # zip, zlib and NumPy each have errors of their own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path} cannot be read as {what} ({reason}); replace it") from error


def _check_sizes(stream: BinaryIO, most: int) -> None:
    """See how much a zip file unpacks to in its list, which whoever reads it keeps to."""
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
    """Prove that bytes are the published ones.

    Args:
        content: The bytes.
        name: What the error calls them.
        digest: Their SHA-256 or, where only that is published, MD5; their lengths differ.

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
    """See that a task whose sizes are those of one file is not to read another.

    Raises:
        UserError: A data folder is given.
    """
    if folder is not None:
        raise UserError(
            f"the task is made of {path}, whose classes its model has: leave out data=, and give "
            "the path of another file to the task itself"
        )
