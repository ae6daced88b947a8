"""The tables of projections on pages, made from records."""

import math
from typing import Any

from benchmarks.common.tables import Cells, number, percent
from beyondprop.projections import BySize


def wide(rows: list[dict[str, Any]]) -> Cells:
    """Return the projections that are too large for a matrix: one row per size."""
    lines = [
        [
            f"`{row['kind']}`, {row['inputs']:,} to {row['outputs']:,}",
            str(row["batch"]),
            duration(row["seconds"]),
            number(row["timed_outputs"] / row["outputs"], ".1%"),
            number(row["entries_per_second"] / 1e9, ",.1f"),
            number(row["stored_bytes"] / 1e6, ",.1f"),
        ]
        for row in rows
        if row["ratio"] is None
    ]
    return ("projection", "batch", "time", "outputs timed", "10⁹ entries/s", "MB stored"), lines


def sizes(rows: list[dict[str, Any]]) -> Cells:
    """Return times relative to a dense matrix: one row per size, one column per kind."""
    rows = [row for row in rows if row["ratio"] is not None]
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    lines = []
    for size in dict.fromkeys(size_of(row) for row in rows):
        found = {row["kind"]: row for row in rows if size_of(row) == size}
        dense = number(found["dense"]["seconds"] * 1000, ",.2f")
        ratios = [number(found[kind]["ratio"], ".2f") for kind in kinds if kind != "dense"]
        (pick,) = (row for row in found.values() if row["chosen"])
        best = min((row for row in found.values() if row["full_rank"]), key=ratio)
        lines.append(
            [size, dense, *ratios, f"`{pick['kind']}`", number(ratio(pick) / ratio(best), ".2f")]
        )
    heads = [f"`{kind}`" for kind in kinds if kind != "dense"]
    return ("size", "`dense`, ms", *heads, "chosen", "its time / the fastest's"), lines


def by_size(rows: list[dict[str, Any]]) -> Cells:
    """Return the times of dense and structured projections of wide errors: one row per size."""
    lines = []
    for size in dict.fromkeys(size_of(row) for row in rows):
        found = {row["kind"]: row for row in rows if size_of(row) == size}
        row = found["hadamard"]
        n = 2 ** (max(row["inputs"], row["outputs"]) - 1).bit_length()
        lines.append(
            [
                size,
                number(row["inputs"] * row["outputs"] / (n * math.log2(n)), ".1f"),
                number(found["dense"]["seconds"] * 1000, ",.1f"),
                number(row["seconds"] * 1000, ",.1f"),
                number(1 / ratio(row), ".2f"),
                f"`{BySize().chosen(row['inputs'], row['outputs']).name}`",
            ]
        )
    heads = ("size", "entries / (n log₂ n)", "`dense`, ms", "`hadamard`, ms")
    return (*heads, "`dense` / `hadamard`", "`BySize` chooses"), lines


def size_of(row: dict[str, Any]) -> str:
    """Return a size's name."""
    return f"{row['inputs']:,} to {row['outputs']:,}, batch {row['batch']}"


def ratio(row: dict[str, Any]) -> float:
    """Return a time relative to dense."""
    return float(row["ratio"])


def duration(seconds: float) -> str:
    """Return a time as people read it."""
    return f"{seconds:,.1f} s" if seconds >= 1 else f"{seconds * 1000:,.1f} ms"


def errors(rows: list[dict[str, Any]]) -> Cells:
    """Return the results of direct feedback of a wide error: one row per way."""
    lines = [
        [
            row["way"],
            " / ".join(f"{mean:.3f} ± {std:.3f}" for mean, std in row["alignment"]) or "–",
            percent(row["accuracy"], row["deviation"]),
            number(row.get("recovery"), ".0%"),
        ]
        for row in rows
        if row["part"] == "learning"
    ]
    return ("taught by", "alignment of the hidden layers", "test accuracy", "recovery"), lines


STATISTICS = {
    "squared_norm_deviation": "norm, Gaussian input",
    "inner_deviation": "inner products / theory",
    "one_hot_squared_norm_deviation": "norm, one-hot",
    "constant_squared_norm_deviation": "norm, constant",
    "one_hot_excess_kurtosis": "excess kurtosis, one-hot",
    "constant_excess_kurtosis": "constant",
    "constant_neighbours": "neighbours",
}
"""The figures of the record on a page, with their headings."""


def statistics(rows: list[dict[str, Any]]) -> Cells:
    """Return the deviation of every kind from a Gaussian: one row per pair of widths and kind."""
    lines = [
        [
            f"{row['kind']}, {row['inputs']:,} to {row['outputs']:,}",
            number((2 / row["outputs"]) ** 0.5, ".4f"),
            *(with_spread(*row[name], name) for name in STATISTICS),
        ]
        for row in rows
    ]
    return ("projection", "norm, in theory", *STATISTICS.values()), lines


def with_spread(mean: float, deviation: float, name: str) -> str:
    """Return a figure with its spread over the seeds; kurtosis has fewer decimals."""
    places = 2 if "kurtosis" in name else 4 if "norm" in name else 3
    return f"{mean:.{places}f} ± {deviation:.{places}f}"
