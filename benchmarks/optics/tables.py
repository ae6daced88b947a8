"""The tables of optics on pages, made from records."""

from typing import Any

from benchmarks.common.tables import Cells, percent
from benchmarks.optics import cost as optics_cost
from benchmarks.optics.configurations import CONTROLS, TABLE

NAMES = {"backprop": "**backprop**", "exact": "**exact feedback**", "frozen": "**frozen**"}
SETS = {"mnist": "MNIST", "fashion": "Fashion-MNIST"}


MAIN = (
    "backprop",
    "exact",
    "ternary, threshold 0.75",
    "uneven ternary, threshold 0.25",
    "ideal",
    "lighton-opu",
    "lighton-opu, uneven ternary",
    "frozen",
)
"""The ways of the short table."""


def accuracy(rows: list[dict[str, Any]]) -> Cells:
    """Return the accuracy of networks if light carries the error: one row per way."""
    return shown(rows, (*CONTROLS, *TABLE))


def short(rows: list[dict[str, Any]]) -> Cells:
    """Return the same for a few ways."""
    return shown(rows, MAIN)


def shown(rows: list[dict[str, Any]], ways: tuple[str, ...]) -> Cells:
    """Return one row per way."""
    found = {(row["data_set"], row["way"]): row for row in rows}
    lines = []
    for way in ways:
        cells = [cell for name in SETS for cell in scores(found[name, way])]
        lines.append([NAMES.get(way, way), *cells])
    heads = [head for name in SETS.values() for head in (name, "points", "recovery", "alignment")]
    return ("feedback path", *heads), lines


def scores(row: dict[str, Any]) -> list[str]:
    """Return a row's accuracy, its difference from exact feedback, recovery and alignment."""
    return [
        percent(row["test"], row["deviation"]),
        f"{-row['less']:+.2f}" if row["less"] else "0",
        f"{row['recovery']:.0%}",
        " / ".join(f"{cosine:.2f}" for cosine in row["alignment"]) or "–",
    ]


def cost(rows: list[dict[str, Any]]) -> Cells:
    """Return the cost of light compared with electronics: one row per size."""
    made = optics_cost.table(rows)
    return tuple(made.columns), [list(line) for line in made.rows]


def theory(rows: list[dict[str, Any]]) -> Cells:
    """Return the difference of the simulator from theory: one row per effect and retrieval."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["part"], row["way"]), []).append(row)
    lines = []
    for (part, way), found in groups.items():
        ratios = [row["ratio"] for row in found]
        shown = f"{min(ratios):.3f}", f"{max(ratios):.3f}"
        lines.append([part, way, str(len(found)), *shown])
    return ("effect alone", "of", "points", "least measured / theory", "largest"), lines
