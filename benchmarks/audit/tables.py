"""The tables of the audit on README and pages: headings and rows, made of records."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.common.tables import Cells

EDGE = "†"


def minima(rows: Sequence[Mapping[str, Any]]) -> Cells:
    """Return how often each rule reaches a known minimum: one row a problem and rule."""
    heads = ("problem", "rule", "reached", "median loss", "lowest", "rate")
    return heads, [[row["problem"], row["way"], *_reached(row)] for row in rows]


def _reached(row: Mapping[str, Any]) -> list[str]:
    if "refused" in row:
        return ["refused", "–", "–", "–"]
    losses = [math.inf if each is None else each for each in row["losses"]]
    low, high = row["interval"]
    return [
        f"{row['share']:.0%} [{low:.0%}, {high:.0%}]",
        f"{statistics.median(losses):.1e}",
        f"{min(losses):.1e}",
        f"{row['rate']:g}" + f" {EDGE}" * row["edge"],
    ]
