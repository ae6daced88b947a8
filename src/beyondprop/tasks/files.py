"""Reading data files, compressed or not, and proving that they are the published ones."""

import gzip
import hashlib
import zlib
from pathlib import Path

from beyondprop.errors import UserError


def read(path: Path, sha256: str | None = None) -> bytes:
    """Content of a file, decompressed if it is gzip.

    Args:
        path: The file; gzip is recognised by its first bytes, not by its name.
        sha256: Hash of the decompressed content. That of the .gz file says little: its header
            holds a name and a date, and differs between mirrors.

    Raises:
        UserError: The file cannot be read, is damaged, or is not the expected one.
    """
    try:
        content = path.read_bytes()
        if content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path} is damaged ({error}); replace or delete it") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from error
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise UserError(
            f"{path} is damaged or belongs to another data set (its SHA-256 is not the published "
            "one); replace or delete it"
        )
    return content
