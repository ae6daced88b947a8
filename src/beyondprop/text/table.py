"""Aligned tables in plain text."""

from collections.abc import Collection, Sequence


def aligned(
    rows: Sequence[Sequence[str]], right: Collection[int] = (), indent: int = 0
) -> list[str]:
    """Return a line for each row, its cells in columns two spaces apart.

    Args:
        rows: Cells, the same number in each row.
        right: Indices of the columns that are aligned to the right, as numbers should be.
        indent: Number of spaces before each line.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        " " * indent
        + "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
