"""The tables of attacks, made from a record."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.common.tables import Cells

HEADS = ("attack", "tried", "refused in one sentence", "correct result", "wrong", "seconds", "MiB")
BOUND_HEADS = ("check", "with it", "without", "ratio", "quartiles")


def counts(rows: Sequence[Mapping[str, Any]]) -> Cells:
    """Return the results of attacks: one row per kind."""
    lines = [
        [
            row["what"],
            f"{row['tried']:,}",
            f"{row['refused']:,}",
            f"{row['right']:,}",
            str(len(row["faults"])),
            "–" if row["seconds"] is None else f"{row['seconds']:.1f}",
            f"{row['memory']:,.0f}",
        ]
        for row in rows
        if row["part"] == "attack"
    ]
    return HEADS, lines


def bounds(rows: Sequence[Mapping[str, Any]]) -> Cells:
    """Return the cost of checks: one row per check."""
    lines = [
        [
            row["what"],
            f"{row['with'] * 1e3:.2f} ms",
            f"{row['without'] * 1e3:.2f} ms",
            f"{row['ratio']:.2f}",
            "–".join(f"{quartile:.2f}" for quartile in row["ratio_quartiles"]),
        ]
        for row in rows
        if row["part"] == "bound"
    ]
    return BOUND_HEADS, lines
