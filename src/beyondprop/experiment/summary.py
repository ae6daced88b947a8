"""From the runs of a comparison to one row a rule."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from beyondprop.experiment.spec import MEASURES
from beyondprop.experiment.statistics import fieller
from beyondprop.measure import Column, Description, find_all
from beyondprop.registry import Spec


def summarise(
    rules: Sequence[str],
    records: Sequence[Mapping[str, Any]],
    costs: Mapping[str, Mapping[str, Any]],
    measures: Sequence[Spec] = MEASURES,
) -> list[dict[str, Any]]:
    """Return one row a rule: scores over the finished runs, how many of each status, what was
    measured.

    Args:
        rules: In the order of the rows.
        records: The runs' records, of whatever status.
        costs: For each rule what `measure_costs` found; may lack rules.
        measures: Names of the measures whose figures every row has, None where there are none.
    """
    empty = dict.fromkeys(keys([measure.description() for measure in find_all(measures)]))
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
            "recovery_interval": recovery_interval(
                *(by_seed(of.get(name, ())) for name in (rule, "backprop", "frozen"))
            ),
            **empty,
            **measured(runs),
            **costs.get(rule, {}),
            "train_seconds": mean([sum(p["seconds"] for p in r["curve"]) for r in finished(runs)]),
        }
        for rule, runs in of.items()
    ]


def keys(measures: Iterable[Description]) -> list[str]:
    """Return the figures that tables show of these measures."""
    return [each.key for measure in measures for column in measure.columns for each in both(column)]


def both(column: Column) -> tuple[Column, ...]:
    """Return a column and those that are written small beside it."""
    return (column, *column.beside)


def measured(runs: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the figures of a rule's finished runs, one for all of them; see `together`."""
    found: dict[str, list[Any]] = {}
    for run in finished(runs):
        for figures in run.get("measures", {}).values():
            for key, value in figures.get("values", {}).items():
                found.setdefault(key, []).append(value)
    return {key: together(values) for key, values in found.items()}


def together(values: Sequence[Any]) -> Any:
    """Several runs' figures in one: the mean of numbers; yes if all say so; else what all share."""
    known = [value for value in values if value is not None]
    if known and all(isinstance(value, bool) for value in known):
        return all(known)
    if known and all(isinstance(value, int | float) for value in known):
        return statistics.fmean(known)
    return known[0] if known and known.count(known[0]) == len(known) else None


def recovery(rule: float | None, backprop: float | None, frozen: float | None) -> float | None:
    """Return how much of what backprop gains over frozen hidden layers the rule gains too.

    Returns:
        (rule - frozen) / (backprop - frozen); None where a score is missing or backprop gains
        nothing, as then there is nothing to recover.
    """
    if rule is None or backprop is None or frozen is None or backprop <= frozen:
        return None
    return (rule - frozen) / (backprop - frozen)


def by_seed(runs: Iterable[Mapping[str, Any]]) -> dict[int, float]:
    """Return the test score of each seed whose run finished."""
    return {
        run["seed"]: run["test"]["score"]
        for run in finished(runs)
        if run["test"]["score"] is not None
    }


def recovery_interval(
    rule: Mapping[int, float], backprop: Mapping[int, float], frozen: Mapping[int, float]
) -> list[float] | None:
    """Return Fieller's interval of the recovery over the seeds that all three have, at 95 %.

    Returns:
        Its ends; None of fewer than two seeds, and where backprop is not told from frozen.
    """
    seeds = sorted(rule.keys() & backprop.keys() & frozen.keys())
    gain = [rule[seed] - frozen[seed] for seed in seeds]
    found = fieller(gain, [backprop[seed] - frozen[seed] for seed in seeds])
    return None if found is None else [found.low, found.high]


def finished(runs: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the runs that went to their end with finite numbers."""
    return [run for run in runs if run["status"] == "finished"]


def scores(runs: Iterable[Mapping[str, Any]]) -> list[float]:
    """Return the test scores of the finished runs."""
    found = [run["test"]["score"] for run in finished(runs)]
    return [score for score in found if score is not None]


def mean(values: Sequence[float]) -> float | None:
    """Return the mean, None of nothing."""
    return statistics.fmean(values) if values else None


def deviation(values: Sequence[float]) -> float | None:
    """Return the sample standard deviation, None of fewer than two values."""
    return statistics.stdev(values) if len(values) > 1 else None
