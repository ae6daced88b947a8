"""Pickles of arrays, read without executing anything that they name.

A pickle is a program that may import and call anything. The pickles of published data sets need
only a few names of NumPy and SciPy, and here even these are replaced by an object that only records
its arguments; see `unpickling`.
"""

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from beyondprop.errors import UserError
from beyondprop.tasks.unpickling import Name, Told, unpickled

ARRAYS: frozenset[Name] = frozenset(
    {
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("_codecs", "encode"),  # for bytes that Python 3 writes for Python 2
        ("numpy.core.numeric", "_frombuffer"),
        ("numpy._core.numeric", "_frombuffer"),
    }
)
"""Names in the pickle of an array."""

SPARSE = ARRAYS | {("scipy.sparse.csr", "csr_matrix"), ("scipy.sparse._csr", "csr_matrix")}
"""Names in the pickle of a sparse matrix by rows."""

LISTS: frozenset[Name] = frozenset(
    {("collections", "defaultdict"), ("__builtin__", "list"), ("builtins", "list")}
)
"""Names in the pickle of a dictionary whose missing keys have empty lists."""

NUMBERS = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8")
"""Number types, as NumPy writes them."""

MOST = 2**27
"""Maximum number of entries of a sparse matrix, including its zeros, as it becomes dense."""


def parse(content: bytes, name: str) -> dict[bytes, Any]:
    """Return the dictionary in a pickle of Python 2; strings are bytes, and `array` reads its
    arrays.

    Args:
        content: The pickle.
        name: Name for error messages.

    Raises:
        UserError: It is damaged, not a dictionary, or names anything that arrays do not need.
    """
    found = unpickled(content, name, ARRAYS)
    if not isinstance(found, dict):
        raise UserError(f"{name} holds a {type(found).__name__}, not a dictionary")
    return found


def array(told: object, name: str, types: Collection[str] = ("u1",)) -> NDArray[Any]:
    """Return the array that a pickle describes, read-only.

    Args:
        told: The record of the array.
        name: Name for error messages.
        types: Number types that it may contain, such as "u1" for bytes.

    Raises:
        UserError: It is not an array of these types, or its size does not match its shape.
    """
    kind = "uint8" if tuple(types) == ("u1",) else "numbers"
    refused = UserError(f"{name} is not an array of {kind}")
    if not isinstance(told, Told):
        raise refused
    try:
        if told.state is None:  # as in protocol 5
            content, dtype, shape, letter = told.arguments
            fortran = _text(letter) == "F"
        else:
            _, shape, dtype, fortran, content = told.state
        held, order = _text(dtype.arguments[0]), _text(dtype.state[1])
        if held not in types or order not in ("|", "<", ">", "="):
            raise refused
        values = np.frombuffer(_bytes(content), np.dtype(order + held))
        values.flags.writeable = False
        return values.reshape(shape, order="F" if fortran else "C")
    except (AttributeError, IndexError, TypeError, ValueError, OverflowError):
        raise refused from None


def matrix(told: object, name: str) -> NDArray[Any]:
    """Return the matrix that a pickle describes: an array, or a sparse matrix by rows.

    Args:
        told: The record of the matrix.
        name: Name for error messages.

    Raises:
        UserError: It is not a matrix of numbers, or its parts do not match.
    """
    state = told.state if isinstance(told, Told) else None
    if not isinstance(state, dict):
        found = array(told, name, NUMBERS)
        if found.ndim != 2:
            raise UserError(f"{name} is not a matrix: it has {found.ndim} axes")
        return found
    parts = {_text(key): value for key, value in state.items()}
    refused = UserError(f"{name} is not a sparse matrix by rows (csr)")
    if not parts.keys() >= {"data", "indices", "indptr", "_shape"}:
        raise refused
    data, indices, starts = (
        array(parts[key], f"{key} of {name}", NUMBERS) for key in ("data", "indices", "indptr")
    )
    try:
        rows, columns = parts["_shape"]
        if rows * columns > MOST:
            raise UserError(f"{name} has {rows} × {columns} numbers, which is more than {MOST:,}")
        made = csr_matrix((data, indices, starts), shape=parts["_shape"])
        made.check_format(full_check=True)
        dense: NDArray[Any] = made.toarray()
        return dense
    except (TypeError, ValueError, IndexError, OverflowError, MemoryError):
        raise refused from None


def lists(told: object, name: str) -> dict[int, list[int]]:
    """Return the dictionary of lists of whole numbers that a pickle contains or describes.

    Args:
        told: The dictionary, or the record of one whose missing keys have empty lists.
        name: Name for error messages.

    Raises:
        UserError: It is not such a dictionary.
    """
    found = told.items if isinstance(told, Told) else told
    if not isinstance(found, dict) or not all(
        type(key) is int and isinstance(value, list) and all(type(each) is int for each in value)
        for key, value in found.items()
    ):
        raise UserError(f"{name} is not a dictionary of lists of whole numbers")
    return found


def _bytes(content: Any) -> Any:
    """Return the bytes, decoded from a text of their values if the pickle records them so."""
    return content.arguments[0].encode("latin-1") if isinstance(content, Told) else content


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
