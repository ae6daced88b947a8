"""Cells of a table: which of them are missing, and which are numbers.

A column is numbers if all its cells are. One wrong cell would make it a column of categories, so a
column that is almost numbers is refused.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence

from beyondprop.errors import UserError, shown

BLANK = frozenset({"", "?"})
"""Cells that represent a missing value."""

MISSING = BLANK | {"na", "n/a", "nan", "null", "none"}
"""The same in columns of numbers, in any case; in columns of texts these may be ordinary texts."""

EXACT = 2**53
"""Below it every whole number has a float of its own; this one shares its float with the next."""

SEVERAL = 4
"""From so many different numbers on, a single text next to them marks a missing value."""

GROUPED = re.compile(r"[+-]?\d{1,3}(?:[,.'’\s_]\d{3})+(?:[.,]\d+)?")
"""A number with separators of thousands, such as 1,234.5."""

DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")
"""A number with a decimal comma, such as 5,393."""


def is_missing(cell: str) -> bool:
    """Whether a cell of a column of numbers is missing."""
    return cell.lower() in MISSING


def number(cell: str) -> float | None:
    """Return the value of a cell, or None if it is not a finite number."""
    value = _float(cell)
    return value if value is not None and math.isfinite(value) else None


def is_numeric(cells: Sequence[str]) -> bool:
    """Whether all cells of a column are numbers or missing."""
    return all(is_missing(cell) or number(cell) is not None for cell in cells)


def gaps(cells: Sequence[str]) -> list[bool]:
    """Return which cells of a column are missing."""
    if is_numeric(cells):
        return [is_missing(cell) for cell in cells]
    return [cell in BLANK for cell in cells]


def check_numbers(name: str, cells: Sequence[str], file: str, otherwise: str) -> None:
    """Check that a column is texts, or numbers that can be read and stored exactly.

    Args:
        name: Name of the column.
        cells: Its cells in all rows of the file.
        file: Name of the file.
        otherwise: What to do if the column is not meant as numbers, for messages; may be empty.

    Raises:
        UserError: The column is almost numbers, or has a whole number whose digits would be lost.
    """
    odd = _odd(cells)
    row = next((row for row, cell in enumerate(cells, 1) if cell in odd), None)
    if row is not None:
        cell = cells[row - 1]
        remedy = (
            "write numbers with a decimal point and without separators of thousands, such as 1234.5"
            if _is_written_otherwise(cell)
            else "correct the cell, or empty it if the value is missing"
        )
        raise UserError(
            f"{file}: column {shown(name)} holds {shown(cell)} among numbers, in row {row}: "
            f"{remedy}{'; or ' if otherwise else ''}{otherwise}"
        )
    if not is_numeric(cells):
        return
    for row, cell in enumerate(cells, 1):
        if _loses_digits(cell):
            raise UserError(
                f"{file}: column {shown(name)} holds {shown(cell)}, in row {row}, and a 64-bit "
                f"float cannot store all its digits: {otherwise}{', or ' if otherwise else ''}"
                f"write a measured value as {float(cell):.16e}"
            )


def _float(cell: str) -> float | None:
    if "_" in cell:  # Python reads 1_2 as 12, but in a table it is a code
        return None
    try:
        return float(cell)
    except ValueError:
        return None


def _is_written_otherwise(cell: str) -> bool:
    """Whether a cell is a number with a decimal comma or separators of thousands."""
    return bool(GROUPED.fullmatch(cell) or DECIMAL_COMMA.fullmatch(cell))


def _odd(cells: Sequence[str]) -> set[str]:
    """Return the cells that do not belong in a column that is almost numbers.

    A column is almost numbers if more than half of its cells are numbers, however they are written,
    or if it has several different numbers and a single text, such as "-" for a missing value. An
    infinite number counts as neither.
    """
    counts = Counter(cell for cell in cells if not is_missing(cell))
    odd = {cell for cell in counts if number(cell) is None}
    written = {cell for cell in odd if _is_written_otherwise(cell)}
    texts = {cell for cell in odd - written if _float(cell) is None}
    numbers = (counts.keys() - odd) | written
    many = sum(counts[cell] for cell in numbers) > sum(counts[cell] for cell in texts)
    alone = len(texts) == 1 and len(numbers) >= SEVERAL
    return odd if many or alone or not texts else set()


def _loses_digits(cell: str) -> bool:
    """Whether a cell is a whole number, written without an exponent, that no float equals."""
    value = number(cell)
    if value is None or abs(value) < EXACT or not re.fullmatch(r"[+-]?\d+", cell):
        return False
    # Python refuses to read more than 4300 digits, and all but 309 would be zeros in front.
    return int(cell.lstrip("+-0")) != abs(int(value))
