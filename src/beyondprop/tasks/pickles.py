"""Reading pickles of arrays without running anything that they name.

A pickle is a program: it may import and call whatever it likes. The pickles of published data sets
need three names of NumPy's only, and here even these stand for a class that does nothing but
remember what it is told.
"""

import io
import pickle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beyondprop.errors import UserError

NAMES = (("numpy.core.multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype"))


class Told:
    """Stands in for an array or a type: what a pickle says of it, which is not acted upon."""

    __slots__ = ("arguments", "state")

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type[Told]:
        if (module, name) not in NAMES:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no array needs")
        return Told


def parse(content: bytes, name: str) -> dict[bytes, Any]:
    """Return the dictionary in a pickle of Python 2; strings are bytes, arrays are to be had by
    `array`.

    Args:
        content: The pickle.
        name: What errors call it.

    Raises:
        UserError: It is damaged, no dictionary, or names anything but what arrays need.
    """
    try:
        found: object = _Unpickler(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # whatever a damaged pickle makes of it
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{name} is not a pickle of plain data ({reason})") from None
    if not isinstance(found, dict):
        raise UserError(f"{name} holds no dictionary but a {type(found).__name__}")
    return found


def array(told: object, name: str) -> NDArray[np.uint8]:
    """Return the array of bytes that a pickle told of, read-only.

    Args:
        told: What stands for it in the dictionary.
        name: What errors call it.

    Raises:
        UserError: It is no array of uint8, or its size does not fit its shape.
    """
    refused = UserError(f"{name} is not an array of uint8")
    if not isinstance(told, Told):
        raise refused
    try:
        _, shape, dtype, fortran, content = told.state
        if dtype.arguments[0] not in (b"u1", "u1"):
            raise refused
        return np.frombuffer(content, np.uint8).reshape(shape, order="F" if fortran else "C")
    except (AttributeError, IndexError, TypeError, ValueError):
        raise refused from None
