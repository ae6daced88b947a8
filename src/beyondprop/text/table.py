"""Rows of text in columns: the one printer of aligned tables."""

from collections.abc import Collection, Sequence


def aligned(
    rows: Sequence[Sequence[str]], right: Collection[int] = (), indent: int = 0
) -> list[str]:
    """Return a line for each row, its cells in columns two spaces apart.

    Args:
        rows: Cells, as many in each row.
        right: Numbers of the columns that are aligned to the right, as numbers should be.
        indent: Spaces before each line.
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
