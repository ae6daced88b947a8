"""The tables of graph networks, made from records."""

import statistics
from typing import Any

from benchmarks.common.tables import Cells

SIGNALS_NOTES = (
    "Accuracy on the test nodes, mean over draws of the training nodes, at each learning rate; the "
    "best rate is the one with the best mean on the validation nodes.",
    "Nodes taught: nodes whose hidden features receive a signal. Alignment: the cosine of the "
    "first layer's gradient with the true one, after training at the best rate.",
)


def signals(rows: list[dict[str, Any]]) -> Cells:
    """Return the scores at each learning rate: one row per network, form and way."""
    rates = sorted({row["rate"] for row in rows})
    found: dict[tuple[str, ...], dict[float, dict[str, Any]]] = {}
    for row in rows:
        found.setdefault((row["network"], row["form"], row["way"]), {})[row["rate"]] = row
    lines = []
    for names, by_rate in found.items():
        best = max(by_rate.values(), key=lambda row: statistics.mean(row["validation"]))
        lines.append(
            [
                *names,
                f"{statistics.mean(best['taught']):,.0f}",
                *(f"{statistics.mean(by_rate[rate]['test']):.1%}" for rate in rates),
                f"{best['rate']:g}",
                f"{statistics.mean(best['alignment']):.2f}",
            ]
        )
    at = [f"test, rate {rate:g}" for rate in rates]
    heads = ("network", "form", "taught by", "nodes taught", *at, "best rate", "alignment there")
    return heads, lines
