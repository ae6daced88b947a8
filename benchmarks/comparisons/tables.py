"""The tables of comparisons on pages: headings and rows, made of records."""

from typing import Any

from benchmarks.common.tables import Cells, number, percent


def compare(record: dict[str, Any]) -> Cells:
    """Return a comparison: one row a rule."""
    rows = [
        [
            row["rule"],
            percent(row["score_mean"], row["score_std"]),
            number(row["recovery"], ".0%"),
            number(row["alignment"], ".2f"),
            number(row["step_ratio"], ".2f"),
            number(row["memory_ratio"], ".2f"),
            f"{row['finished']} of {row['runs']}",
        ]
        for row in record["rows"]
    ]
    metric = f"test {record['task']['metric']}"
    heads = ("rule", metric, "recovery", "alignment", "step time", "peak memory", "runs finished")
    return heads, rows


def rule(name: str, records: dict[str, dict[str, Any]]) -> Cells:
    """Return what a rule reaches on every task, between the two controls.

    Args:
        name: The rule's.
        records: A comparison's record by its task; made for any rules.
    """
    rows = []
    for task, record in records.items():
        found = {row["rule"]: row for row in record["rows"]}
        if name not in found:  # the record was made for fewer rules
            continue
        low, middle, high = (found[r]["score_mean"] for r in ("frozen", name, "backprop"))
        scores = [number(score, ".2%") for score in (low, middle, high)]
        if name in ("backprop", "frozen"):
            rows.append([task, scores[0], scores[2], number(saved(low, high), ".0%")])
            continue
        recovery, alignment = found[name]["recovery"], found[name]["alignment"]
        rows.append([task, *scores, number(recovery, ".0%"), number(alignment, ".2f")])
    heads = ("task", "frozen", f"**{name}**", "backprop", "recovery", "alignment")
    if name in ("backprop", "frozen"):
        heads = ("task", "frozen", "backprop", "share of errors that teaching hidden layers saves")
    return heads, rows


def saved(frozen: float | None, backprop: float | None) -> float | None:
    """Return the share of the first accuracy's errors that the second saves, if there are any."""
    if frozen is None or backprop is None or frozen >= 1:
        return None
    return (backprop - frozen) / (1 - frozen)
