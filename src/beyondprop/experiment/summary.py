"""From the runs of a comparison to one row a rule."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def summarise(
    rules: Sequence[str],
    records: Sequence[Mapping[str, Any]],
    costs: Mapping[str, Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """One row a rule: scores over the finished runs, how many of each status, costs.

    Args:
        rules: In the order of the rows.
        records: The runs' records, of whatever status.
        costs: For each rule what `measure_costs` found; may lack rules.
    """
    of = {rule: [r for r in records if r["rule"]["name"] == rule] for rule in rules}
    means = {rule: mean(scores(runs)) for rule, runs in of.items()}
    return [
        {
            "rule": rule,
            "runs": len(runs),
            **{s: sum(r["status"] == s for r in runs) for s in ("finished", "diverged", "failed")},
            "score_mean": means[rule],
            "score_std": deviation(scores(runs)),
            "recovery": recovery(means[rule], means.get("backprop"), means.get("frozen")),
            "alignment": mean(final_alignments(runs)),
            **{cost: costs.get(rule, {}).get(cost) for cost in COSTS},
            "train_seconds": mean([sum(p["seconds"] for p in r["curve"]) for r in finished(runs)]),
        }
        for rule, runs in of.items()
    ]


COSTS = (
    "step_seconds",
    "step_ratio",
    "step_quartiles",
    "plain_step_seconds",
    "memory_bytes",
    "memory_ratio",
    "memory_kind",
    "plain_memory_bytes",
)
"""Of a row, None where not measured: relative to plain PyTorch, whose own figures stand beside."""


def recovery(rule: float | None, backprop: float | None, frozen: float | None) -> float | None:
    """How much of what backprop gains over frozen hidden layers the rule gains too.

    Returns:
        (rule - frozen) / (backprop - frozen); None where a score is missing or backprop gains
        nothing, as then there is nothing to recover.
    """
    if rule is None or backprop is None or frozen is None or backprop <= frozen:
        return None
    return (rule - frozen) / (backprop - frozen)


def finished(runs: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The runs that went to their end with finite numbers."""
    return [run for run in runs if run["status"] == "finished"]


def scores(runs: Iterable[Mapping[str, Any]]) -> list[float]:
    """The test scores of the finished runs."""
    found = [run["test"]["score"] for run in finished(runs)]
    return [score for score in found if score is not None]


def final_alignments(runs: Iterable[Mapping[str, Any]]) -> list[float]:
    """The alignment of every hidden block (all but the last) at the end of every finished run."""
    hidden = [list(run["curve"][-1]["alignment"].values())[:-1] for run in finished(runs)]
    return [value for values in hidden for value in values if value is not None]


def mean(values: Sequence[float]) -> float | None:
    """The mean, None of nothing."""
    return statistics.fmean(values) if values else None


def deviation(values: Sequence[float]) -> float | None:
    """The sample standard deviation, None of fewer than two values."""
    return statistics.stdev(values) if len(values) > 1 else None
