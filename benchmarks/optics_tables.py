"""The tables of optics on pages: headings and rows, made of records."""

from typing import Any

from optics_cases import CONTROLS, TABLE

Cells = tuple[tuple[str, ...], list[list[str]]]

NAMES = {"backprop": "**backprop**", "exact": "**exact feedback**", "frozen": "**frozen**"}
SETS = {"mnist": "MNIST", "fashion": "Fashion-MNIST"}


MAIN = "backprop", "exact", "ternary, threshold 0.75", "ideal", "lighton-opu", "frozen"
"""Ways that a short table shows."""


def accuracy(rows: list[dict[str, Any]]) -> Cells:
    """Return how well networks learn when light carries the error: one row a way."""
    return shown(rows, (*CONTROLS, *TABLE))


def short(rows: list[dict[str, Any]]) -> Cells:
    """Return the same for a few ways."""
    return shown(rows, MAIN)


def shown(rows: list[dict[str, Any]], ways: tuple[str, ...]) -> Cells:
    """Return one row a way."""
    found = {(row["data_set"], row["way"]): row for row in rows}
    lines = []
    for way in ways:
        cells = [cell for name in SETS for cell in scores(found[name, way])]
        lines.append([NAMES.get(way, way), *cells])
    heads = [head for name in SETS.values() for head in (name, "points", "recovery", "alignment")]
    return ("error's way", *heads), lines


def scores(row: dict[str, Any]) -> list[str]:
    """Return a row's accuracy, how far it is above exact feedback, recovery and alignment."""
    return [
        f"{row['test']:.2%} ± {row['deviation'] * 100:.2f}",
        f"{-row['less']:+.2f}",
        f"{row['recovery']:.0%}",
        " / ".join(f"{cosine:.2f}" for cosine in row["alignment"]) or "–",
    ]
