"""Reading the values of an answer: numbers, spans and grids, checked once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from beyondprop.report.read import number

Span = tuple[float, float]
"""The lower and the upper end of an interval."""

LARGEST = 1e30
"""Numbers beyond it are drawn as none: no axis holds them."""
ROUNDING = 1e-6
"""How far rounding may take a share beyond 0 or 1."""


def real(value: Any) -> float | None:
    """Return a number; None where it is null, or no axis holds it.

    Raises:
        TypeError: It is a text or a container.
    """
    if isinstance(value, str | bool):
        raise TypeError(f"{value!r} is not a number")
    found = number(value)
    return None if found is None or not abs(found) <= LARGEST else found


def needed(value: Any) -> float:
    """Return a number that must be there.

    Raises:
        ValueError: It is null.
    """
    found = real(value)
    if found is None:
        raise ValueError("a number is missing")
    return found


def share(value: Any) -> float:
    """Return a number from 0 to 1.

    Raises:
        ValueError: It is null, or lies beyond.
    """
    found = needed(value)
    if not -ROUNDING <= found <= 1 + ROUNDING:
        raise ValueError("a share is not between 0 and 1")
    return min(max(found, 0.0), 1.0)


def count(value: Any) -> int:
    """Return a whole number, not below 0.

    Raises:
        ValueError: It is none.
    """
    found = needed(value)
    if found < 0 or found != math.floor(found):
        raise ValueError("a count is not a whole number")
    return int(found)


def span(value: Any) -> Span | None:
    """Return an interval; None where it is null, or an end is.

    Raises:
        ValueError: It has not two ends.
    """
    if value is None:
        return None
    low, high = (real(each) for each in listed(value))
    return None if low is None or high is None else (low, high)


def listed(value: Any) -> Sequence[Any]:
    """Return a list of a record, which no text is.

    Raises:
        TypeError: It is none.
    """
    if not isinstance(value, list | tuple):
        raise TypeError(f"{type(value).__name__} in place of a list")
    return value


def mapped(value: Any) -> Mapping[str, Any]:
    """Return a mapping of a record.

    Raises:
        TypeError: It is none.
    """
    if not isinstance(value, Mapping):
        raise TypeError(f"{type(value).__name__} in place of a mapping")
    return value


def reals(value: Any, size: int | None = None) -> tuple[float | None, ...]:
    """Return a list of numbers that may be null.

    Args:
        value: As the record has it.
        size: How many there must be, if that is known.

    Raises:
        ValueError: There are none, or not so many.
    """
    found = tuple(real(each) for each in listed(value))
    if not found or (size is not None and len(found) != size):
        raise ValueError("the number of values is wrong")
    return found


def shares(value: Any, size: int | None = None) -> tuple[float, ...]:
    """Return a list of shares; raises as `share` and `reals` do."""
    found = tuple(share(each) for each in listed(value))
    if not found or (size is not None and len(found) != size):
        raise ValueError("the number of shares is wrong")
    return found


def plotted(values: Sequence[float | None]) -> list[float]:
    """Return numbers for a line, which is broken where there is none."""
    return [math.nan if each is None else each for each in values]
