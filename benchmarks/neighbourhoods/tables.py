"""The tables of networks taken apart: headings and rows, made of records."""

import statistics
from typing import Any

from benchmarks.common.tables import Cells
from beyondprop.experiment.statistics import Interval, paired

WHOLE = "end to end"
MARK = " †"


def noise(rows: list[dict[str, Any]]) -> Cells:
    """Return what a smaller network scores: one row for each kind of inputs and way to learn."""
    whole = {row["inputs"]: row for row in rows if row["taught"] == WHOLE}
    lines = []
    for row in rows:
        other = whole.get(row["inputs"])
        less = None if other in (None, row) else difference(row["score"], other["score"])
        rates = sorted({f"{each:g}" for each in row["rate"] if each})
        lines.append(
            [
                row["inputs"],
                row["taught"],
                mean(row["score"]) + MARK * row["edge"],
                "–" if less is None else f"{less.value:+.4f} ± {less.high - less.value:.4f}",
                ", ".join(rates) or "–",
            ]
        )
    return ("inputs", "taught", "score", "less end to end", "rates"), lines


def noise_notes(rows: list[dict[str, Any]], metric: str) -> list[str]:
    """Return what a reader must know to read it."""
    total = [each for row in rows for each in row["total"] if each]
    seeds = len(rows[0]["score"])
    found = [
        f"{metric} on test data, mean over {seeds} seeds; ± is half of Student's 95% interval of "
        "pairs of one seed.",
        "Own inputs: each part learns from drawn ones. Through all: each learns from what reaches "
        "it when the network's inputs are drawn, or known samples.",
        f"Each way may compute {statistics.mean(total):.3g} floating-point operations, the "
        "teacher's among them; its rate is the best on the validation data.",
    ]
    if any(row["edge"] for row in rows):
        found.append("†: a chosen rate lies at an end of those that were tried.")
    failed = [row for row in rows if row["failed"]]
    return found + [f"{row['inputs']}, {row['taught']}: {row['failed']}." for row in failed]


def mean(scores: list[float | None]) -> str:
    """Return the mean of scores, a dash where one is missing."""
    known = [each for each in scores if each is not None]
    return f"{statistics.mean(known):.4f}" if len(known) == len(scores) else "–"


def difference(first: list[float | None], second: list[float | None]) -> Interval | None:
    """Return how scores differ, paired by seed; None where one is missing, or there is one seed."""
    one, other = ([each for each in scores if each is not None] for scores in (first, second))
    if len(one) < len(first) or len(other) < len(second):
        return None
    return paired(one, other)


def memory(rows: list[dict[str, Any]]) -> Cells:
    """Return peaks: one row for each block, one column for each way."""
    ways = list(dict.fromkeys(row["way"] for row in rows))
    found = {(row["block"], row["way"]): row["bytes"] for row in rows}
    blocks = list(dict.fromkeys(row["block"] for row in rows))
    return ("block", *(f"{way}, MB" for way in ways)), [
        [block, *(f"{found[block, way] / 1e6:.0f}" for way in ways)] for block in blocks
    ]
