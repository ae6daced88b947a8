"""The tables of networks split into pieces, made from records."""

import statistics
from typing import Any

from benchmarks.common.tables import Cells
from beyondprop.experiment import distil_table
from beyondprop.experiment.statistics import Interval, paired
from beyondprop.report.distilled.headline import headline
from beyondprop.report.distilled.read import read_distillation

WHOLE = "end to end"
MARK = " †"


def told(record: dict[str, Any]) -> str:
    """Return the findings of a distillation piece by piece, as Markdown: a headline, and notes."""
    found = f"{headline(read_distillation(record))}."
    return "\n".join([found, "", *(f"- {sentence}" for sentence in distil_table.notes(record))])


def distilled(record: dict[str, Any]) -> Cells:
    """Return the results of each method: one row per budget."""
    return distil_table.HEADS, list(distil_table.rows(record))


def noise(rows: list[dict[str, Any]]) -> Cells:
    """Return the scores of a smaller network: one row per kind of inputs and way to learn."""
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
                "–" if less is None else plus_minus(less),
                ", ".join(rates) or "–",
            ]
        )
    return ("inputs", "taught", "score", "minus end to end", "rates"), lines


def noise_notes(rows: list[dict[str, Any]], metric: str) -> list[str]:
    """Return the notes below the table."""
    total = [each for row in rows for each in row["total"] if each]
    seeds = len(rows[0]["score"])
    found = [
        f"{metric} on test data, mean over {seeds} seeds; ± is half of Student's 95% interval, "
        "paired by seed.",
        "Own inputs: each part learns from its own drawn inputs. Through all: each part learns "
        "from its inputs when the inputs of the network are drawn, or known samples.",
        f"Each method gets {statistics.mean(total):.3g} floating-point operations, including the "
        "teacher's; its rate is the best on the validation data.",
    ]
    if any(row["edge"] for row in rows):
        found.append("†: a chosen rate lies at the edge of those tried.")
    failed = [row for row in rows if row["failed"]]
    return found + [f"{row['inputs']}, {row['taught']}: {row['failed']}." for row in failed]


def mean(scores: list[float | None]) -> str:
    """Return the mean of scores, a dash if one is missing."""
    known = [each for each in scores if each is not None]
    return f"{statistics.mean(known):.4f}" if len(known) == len(scores) else "–"


def difference(first: list[float | None], second: list[float | None]) -> Interval | None:
    """Return the difference of scores, paired by seed; None if one is missing or for one seed."""
    one, other = ([each for each in scores if each is not None] for scores in (first, second))
    if len(one) < len(first) or len(other) < len(second):
        return None
    return paired(one, other)


def memory(rows: list[dict[str, Any]]) -> Cells:
    """Return peaks: one row per block, one column per way."""
    ways = list(dict.fromkeys(row["way"] for row in rows))
    found = {(row["block"], row["way"]): row["megabytes"] for row in rows}
    blocks = list(dict.fromkeys(row["block"] for row in rows))
    return ("block", *(f"{way}, MB" for way in ways)), [
        [block, *(f"{found[block, way]:.0f}" for way in ways)] for block in blocks
    ]


def wall_time(rows: list[dict[str, Any]], jobs: int) -> Cells:
    """Return seconds of pieces and of end-to-end training: one row per seed and charge."""
    lines = []
    for row in rows:
        for charge in ("shared", "whole"):
            way, share = f"end to end, {charge}", row["budgets"] if charge == "shared" else 1
            whole, wanted = row["seconds"][way], row["scores"][way]
            step = "merged" if row["scores"]["merged"] >= wanted else "healed"
            times = [spent(row, step, workers, share) for workers in (1, jobs)]
            there = row["scores"][step] >= wanted
            gains = [f"{whole / each:.1f}×" if there else "–" for each in times]
            taken = [f"{each:.0f} s" for each in times]
            scores = [f"{each:.4f}" for each in (wanted, row["scores"][step])]
            cells = [f"{whole:.0f} s", scores[0], *taken, scores[1], *gains]
            lines.append([str(row["seed"]), charge, *cells])
    heads = ("seed", "library", "end to end", "its score", "pieces, 1 worker")
    return (*heads, f"{jobs} workers", "their score", "gain, 1", f"gain, {jobs}"), lines


def spent(row: dict[str, Any], step: str, workers: int, share: int) -> float:
    """Return the seconds until the pieces are merged, or healed."""
    seconds = row["seconds"]
    library = seconds[f"library, {workers}"] / share
    return float(library + (seconds["healed"] if step == "healed" else 0))


def by_rule(rows: list[dict[str, Any]]) -> Cells:
    """Return the network's scores with pieces that each rule has taught: one row per way."""
    lines = []
    for name in rows[0]:
        scores = [row[name]["score"] for row in rows]
        below = difference(scores, [row["backprop"]["score"] for row in rows])
        errors = [each for row in rows for each in row[name].get("errors", [])]
        rates = sorted({f"{row[name]['rate']:g}" for row in rows if "rate" in row[name]})
        lines.append(
            [
                name,
                mean(scores) + MARK * any(row[name].get("edge", False) for row in rows),
                "–" if name == "backprop" or below is None else plus_minus(below),
                f"{statistics.mean(errors):.3f}" if errors else "–",
                ", ".join(rates) or "–",
            ]
        )
    return ("pieces", "accuracy", "less backprop's", "error", "rates"), lines


def plus_minus(found: Interval) -> str:
    """Return a difference with half of its interval."""
    return f"{found.value:+.4f} ± {found.high - found.value:.4f}"
