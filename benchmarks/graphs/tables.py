"""The tables of graph networks: headings and rows, made of records."""

import statistics
from typing import Any

from benchmarks.common.tables import Cells


def signals(rows: list[dict[str, Any]]) -> Cells:
    """Return what each network scores in each way: one row a network, way and dropout."""
    lines = [
        [
            row["network"],
            row["way"],
            f"{row['dropout']:g}",
            f"{row['rate']:g}, {row['weight_decay']:g}",
            spread(row["test"]),
            f"{statistics.mean(row['train']):.1%}",
            f"{statistics.mean(row['taught']):,.0f}",
            f"{statistics.mean(row['alignment']):.2f}",
        ]
        for row in rows
    ]
    heads = (
        *("network", "taught by", "dropout", "rate, weight decay", "test", "train"),
        *("hidden nodes taught", "alignment"),
    )
    return heads, lines


def spread(found: list[float]) -> str:
    """Return a mean and a standard deviation."""
    deviation = statistics.stdev(found) if len(found) > 1 else 0.0
    return f"{statistics.mean(found):.1%} ± {deviation:.1%}"
