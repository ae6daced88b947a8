"""What projections refuse, in a sentence; cheap, as it is looked at in every projection."""

import operator
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from beyondprop.errors import UserError

LIMIT = 2**40


def check(x: Tensor, *widths: Any) -> None:
    """Refuse what no projection carries, and widths that a map cannot have.

    Args:
        x: What is projected, or a tensor of the dtype that a matrix shall have.
        widths: Of the map.

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
    """Refuse widths that a map cannot have.

    Raises:
        UserError: A width is not a whole number from 1 to 2^40.
    """
    for width in widths:
        # Nearly all are plain ints: what takes longer to ask is asked of the others alone.
        if not ((type(width) is int or _whole(width)) and 1 <= width <= LIMIT):
            raise UserError(f"a projection's widths are whole numbers from 1 to 2^40, not {width}")


def _whole(number: Any) -> bool:
    """Whether something counts, as NumPy's numbers and a compiler's symbols do; no bool does."""
    return isinstance(number, Integral | torch.SymInt) and not isinstance(number, bool)


def seed_of(seed: Any) -> int:
    """Return a seed as a plain int; NumPy's would not become JSON.

    Raises:
        UserError: It is not a whole number from 0 to 2^64 - 1.
    """
    try:
        found = -1 if isinstance(seed, bool) else int(operator.index(seed))
    except TypeError:
        found = -1
    if not 0 <= found < 2**64:
        raise UserError(f"a projection's seed is a whole number from 0 to 2^64 - 1, not {seed!r}")
    return found
