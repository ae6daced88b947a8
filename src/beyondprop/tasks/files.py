"""Reading data files, compressed or not, and proving that they are the published ones."""

import gzip
import hashlib
import zlib
from pathlib import Path

from beyondprop.errors import UserError


def read(path: Path, digest: str | None = None, unpack: bool = True) -> bytes:
    """Content of a file, decompressed if it is gzip.

    Args:
        path: The file; gzip is recognised by its first bytes, not by its name.
        digest: Hash of the decompressed content, see `check`. That of a .gz file says little: its
            header holds a name and a date, and differs between mirrors.
        unpack: False leaves gzip as it is, for an archive whose own hash is published.

    Raises:
        UserError: The file cannot be read, is damaged, or is not the expected one.
    """
    try:
        content = path.read_bytes()
        if unpack and content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path} is damaged ({error}); replace or delete it") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from error
    if digest is not None:
        check(content, str(path), digest)
    return content


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
            f"the task is made of {path}, whose classes its model has: leave out --data, and give "
            "the path of another file to the task itself"
        )
