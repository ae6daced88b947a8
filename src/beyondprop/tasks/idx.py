"""The IDX format of MNIST and its relatives.

Two zero bytes, one byte for the type, one for the number of dimensions, each dimension as a
big-endian uint32, then the values in row-major order, big-endian
(http://yann.lecun.com/exdb/mnist/).
"""

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beyondprop.errors import UserError
from beyondprop.tasks import files

DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read(path: Path, sha256: str | None = None) -> NDArray[Any]:
    """Return the array in an IDX file, gzip or plain, in the machine's byte order and writable.

    Args:
        path: The file.
        sha256: Expected hash of the decompressed file, if known.

    Raises:
        UserError: The file cannot be read, is damaged, or is not IDX.
    """
    return parse(files.read(path, sha256), str(path))


def parse(content: bytes, name: str) -> NDArray[Any]:
    """Return the array in the bytes of an IDX file; error messages use `name`.

    Raises:
        UserError: Not IDX, an unknown type, or more or fewer values than the header says.
    """
    if len(content) < 4 or content[:2] != b"\0\0":
        raise UserError(f"{name} is not an IDX file: it must start with two zero bytes")
    code, ndim = content[2], content[3]
    if code not in DTYPES:
        raise UserError(f"{name} is not an IDX file: there is no type 0x{code:02X}")
    if not 1 <= ndim <= 32:
        raise UserError(f"{name} is not a usable IDX file: it has {ndim} dimensions, not 1 to 32")
    start = 4 + 4 * ndim
    if len(content) < start:
        raise UserError(f"{name} ends within its IDX header")
    shape = struct.unpack(f">{ndim}I", content[4:start])
    dtype = np.dtype(DTYPES[code])
    expected, actual = math.prod(shape) * dtype.itemsize, len(content) - start
    if actual != expected:
        raise UserError(
            f"{name}: the IDX header says {expected:,} bytes {shape}, but {actual:,} follow"
        )
    if not expected:
        raise UserError(f"{name} is empty: its IDX header says {shape}")
    values = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return values.astype(dtype.newbyteorder("="))
