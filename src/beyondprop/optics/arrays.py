"""Rows of numbers in common forms: tensors, NumPy arrays, data frames, nested lists."""

from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from beyondprop.errors import UserError

Rows = TypeVar("Rows", Tensor, "np.ndarray[Any, Any]")


def as_tensor(x: Any) -> Tensor:
    """Return rows as a tensor: a tensor unchanged, anything else converted by NumPy and copied.

    Raises:
        UserError: The rows are not an array of real numbers.
    """
    if isinstance(x, Tensor):
        return x
    try:
        array = np.asarray(x)
    except Exception as error:  # a class or a list of uneven rows may raise anything
        raise UserError(f"rows must be an array of real numbers ({error})") from None
    if array.dtype.kind not in "biuf":
        raise UserError(
            f"rows must be an array of real numbers, not a {type(x).__name__} of {array.dtype}: "
            "encode text, fill in missing values, and make sparse matrices dense with x.toarray()"
        )
    kind = array.dtype.kind
    if (kind == "u" and array.itemsize > 1) or (kind == "f" and array.itemsize > 8):
        array = array.astype(np.float64)  # PyTorch has almost no operations on these
    return torch.from_numpy(np.array(array, array.dtype.newbyteorder("="), order="C"))


def as_given(found: Tensor, x: Rows) -> Rows:
    """Return a tensor if `x` is one, otherwise a NumPy array."""
    given: Any = found if isinstance(x, Tensor) else found.numpy()
    return given  # type: ignore[no-any-return]
