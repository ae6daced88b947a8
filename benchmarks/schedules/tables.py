"""The table of schedules on pages, made from records."""

from typing import Any

from benchmarks.common.tables import Cells, number


def pipeline(rows: list[dict[str, Any]]) -> Cells:
    """Return the throughput of two processes relative to one: one row per training method."""
    lines = [
        [
            row["net"],
            row["training"],
            str(row["chunks"]),
            number(row["samples_per_second_one"], ",.0f"),
            number(row["samples_per_second_two"], ",.0f"),
            number(row["ratio"], ".2f"),
        ]
        for row in rows
    ]
    heads = ("network", "training", "chunks", "samples/s, one process", "two", "ratio")
    return heads, lines
