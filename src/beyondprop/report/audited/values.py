"""Reading and checking the values of a result: numbers, intervals and grids."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from beyondprop.report.read import number

Span = tuple[float, float]
"""The lower and the upper end of an interval."""

LARGEST = 1e30
"""Larger numbers are treated as missing: no axis can show them."""
ROUNDING = 1e-6
"""How far rounding may move a share below 0 or above 1."""


def real(value: Any) -> float | None:
    """Return a number; None if it is null or too large for an axis.

    Raises:
        TypeError: It is a string or a container.
    """
    if isinstance(value, str | bool):
        raise TypeError(f"{value!r} is not a number")
    found = number(value)
    return None if found is None or not abs(found) <= LARGEST else found


def needed(value: Any) -> float:
    """Return a number that must not be null.

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
        ValueError: It is null or out of range.
    """
    found = needed(value)
    if not -ROUNDING <= found <= 1 + ROUNDING:
        raise ValueError("a share is not between 0 and 1")
    return min(max(found, 0.0), 1.0)


def count(value: Any) -> int:
    """Return a whole number of at least 0.

    Raises:
        ValueError: It is not such a number.
    """
    found = needed(value)
    if found < 0 or found != math.floor(found):
        raise ValueError("a count is not a whole number")
    return int(found)


def span(value: Any) -> Span | None:
    """Return an interval; None if it or one of its ends is null.

    Raises:
        ValueError: It does not have two ends.
    """
    if value is None:
        return None
    low, high = (real(each) for each in listed(value))
    return None if low is None or high is None else (low, high)


def listed(value: Any) -> Sequence[Any]:
    """Return a list of a record; a string is not a list.

    Raises:
        TypeError: It is not a list.
    """
    if not isinstance(value, list | tuple):
        raise TypeError(f"{type(value).__name__} in place of a list")
    return value


def mapped(value: Any) -> Mapping[str, Any]:
    """Return a mapping of a record.

    Raises:
        TypeError: It is not a mapping.
    """
    if not isinstance(value, Mapping):
        raise TypeError(f"{type(value).__name__} in place of a mapping")
    return value


def reals(value: Any, size: int | None = None) -> tuple[float | None, ...]:
    """Return a list of numbers that may be null.

    Args:
        value: The value in the record.
        size: The required length, if known.

    Raises:
        ValueError: The list is empty, or has another length.
    """
    found = tuple(real(each) for each in listed(value))
    if not found or (size is not None and len(found) != size):
        raise ValueError("the number of values is wrong")
    return found


def shares(value: Any, size: int | None = None) -> tuple[float, ...]:
    """Return a list of shares; raises the same errors as `share` and `reals`."""
    found = tuple(share(each) for each in listed(value))
    if not found or (size is not None and len(found) != size):
        raise ValueError("the number of shares is wrong")
    return found


def plotted(values: Sequence[float | None]) -> list[float]:
    """Return numbers for a line, with gaps for missing ones."""
    return [math.nan if each is None else each for each in values]
