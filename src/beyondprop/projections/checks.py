"""Checks of projections' arguments, which must be fast because every projection runs them."""

import operator
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from beyondprop.errors import UserError

LIMIT = 2**40


def check(x: Tensor, *widths: Any) -> None:
    """Raise unless a projection can carry a tensor, and the widths are valid.

    Args:
        x: The tensor to project, or a tensor with the dtype of a matrix.
        widths: The widths of the map.

    Raises:
        UserError: x does not hold floating-point numbers, or a width is not a whole number from 1
            to 2^40.
    """
    if not x.dtype.is_floating_point:
        raise UserError(
            f"a projection carries floating-point numbers, not {x.dtype}: use x.float()"
        )
    check_widths(*widths)


def check_widths(*widths: Any) -> None:
    """Raise unless all widths are valid.

    Raises:
        UserError: A width is not a whole number from 1 to 2^40.
    """
    for width in widths:
        # Nearly all are plain ints: only others need the slower check.
        if not ((type(width) is int or _whole(width)) and 1 <= width <= LIMIT):
            raise UserError(f"a projection's widths are whole numbers from 1 to 2^40, not {width}")


def _whole(number: Any) -> bool:
    """Whether a value is an integer, including NumPy's and a compiler's symbols, but not bools."""
    return isinstance(number, Integral | torch.SymInt) and not isinstance(number, bool)


def seed_of(seed: Any) -> int:
    """Return a seed as a plain int, as NumPy's integers cannot be written as JSON.

    Raises:
        UserError: The seed is not a whole number from 0 to 2^64 - 1.
    """
    try:
        found = -1 if isinstance(seed, bool) else int(operator.index(seed))
    except TypeError:
        found = -1
    if not 0 <= found < 2**64:
        raise UserError(f"a projection's seed is a whole number from 0 to 2^64 - 1, not {seed!r}")
    return found
