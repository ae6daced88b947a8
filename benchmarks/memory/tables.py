"""The tables of memory on pages, made from records."""

from typing import Any

from benchmarks.common.tables import Cells, number, pivot
from beyondprop.rules import RULES


def rules(rows: list[dict[str, Any]]) -> Cells:
    """Return peak memory relative to plain PyTorch: one row per network, one column per rule."""
    return pivot(rows, "resident_ratio", tuple(RULES))


def depth(rows: list[dict[str, Any]]) -> Cells:
    """Return memory by depth: one row per method, with its time relative to backprop's."""
    found = {(row["way"], row["depth"]): row for row in rows}
    depths = sorted({row["depth"] for row in rows})
    lines = []
    for way in dict.fromkeys(row["way"] for row in rows):
        cells = [number(found[way, d]["bytes"] / 1e6, ".0f") for d in depths]
        least, most = found[way, depths[0]], found[way, depths[-1]]
        growth = number(most["bytes"] / least["bytes"], ".2f")
        share = number(most["memory_ratio"], ".3f")
        lines.append([way, *cells, growth, share, number(most["time_ratio"], ".2f")])
    heads = [f"MB at {d}" for d in depths]
    ends = f"{depths[-1]} / {depths[0]}", "/ backprop", "time / backprop"
    return ("", *heads, *ends), lines
