"""The summary of a comparison's runs: one row for each rule."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from beyondprop.experiment.spec import MEASURES
from beyondprop.experiment.statistics import fieller, paired
from beyondprop.measure import Column, Description, find_all
from beyondprop.registry import Spec

FROZEN, LINEAR = "frozen", "linear"
UPPER, LOWER = "backprop", (FROZEN, LINEAR)
"""The controls, to which a rule's score is compared."""


def summarise(
    rules: Sequence[str],
    records: Sequence[Mapping[str, Any]],
    costs: Mapping[str, Mapping[str, Any]],
    measures: Sequence[Spec] = MEASURES,
    chance: float | None = None,
) -> list[dict[str, Any]]:
    """Return one row for each rule: scores, numbers of runs by status, and measured figures.

    Args:
        rules: Rules in the order of the rows.
        records: Records of all runs, of any status.
        costs: Result of `measure_costs` for each rule; rules may be missing.
        measures: Measures whose figures every row contains; missing figures are None.
        chance: The score of a diverged run. If it is None, diverged runs are left out, like failed
            ones.
    """
    empty = dict.fromkeys(keys([measure.description() for measure in find_all(measures)]))
    of = {rule: [r for r in records if r["rule"]["name"] == rule] for rule in rules}
    found = {rule: by_seed(runs, chance) for rule, runs in of.items()}
    below = lower_control(found)
    reason = no_recovery(found, below)
    return [
        {
            "rule": rule,
            "runs": len(runs),
            **{s: sum(r["status"] == s for r in runs) for s in ("finished", "diverged", "failed")},
            "score_mean": mean([*found[rule].values()]),
            "score_std": deviation([*found[rule].values()]),
            "score_interval": interval([*found[rule].values()]),
            **recovered(found, rule, below, reason),
            **empty,
            **measured(runs),
            **costs.get(rule, {}),
            "train_seconds": mean([sum(p["seconds"] for p in r["curve"]) for r in finished(runs)]),
        }
        for rule, runs in of.items()
    ]


def keys(measures: Iterable[Description]) -> list[str]:
    """Return the keys of these measures' figures in tables."""
    return [each.key for measure in measures for column in measure.columns for each in both(column)]


def both(column: Column) -> tuple[Column, ...]:
    """Return a column and the smaller columns next to it."""
    return (column, *column.beside)


def measured(runs: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the combined figures of a rule's finished runs; see `together`."""
    found: dict[str, list[Any]] = {}
    for run in finished(runs):
        for figures in run.get("measures", {}).values():
            for key, value in figures.get("values", {}).items():
                found.setdefault(key, []).append(value)
    return {key: together(values) for key, values in found.items()}


def together(values: Sequence[Any]) -> Any:
    """Return the combined figure of several runs.

    It is the mean of numbers, and True if all booleans are True. For other values, it is the common
    one, or None if they differ.
    """
    known = [value for value in values if value is not None]
    if known and all(isinstance(value, bool) for value in known):
        return all(known)
    if known and all(isinstance(value, int | float) for value in known):
        return statistics.fmean(known)
    return known[0] if known and known.count(known[0]) == len(known) else None


def lower_control(scores: Mapping[str, Mapping[int, float]]) -> str | None:
    """Return the lower control with the higher mean score; None if there is none."""
    means = {name: mean([*scores.get(name, {}).values()]) for name in LOWER}
    known = {name: value for name, value in means.items() if value is not None}
    return max(known, key=known.__getitem__, default=None)


def no_recovery(scores: Mapping[str, Mapping[int, float]], below: str | None) -> str | None:
    """Return why recovery can't be reported, or None.

    Args:
        scores: Scores of each rule, by seed.
        below: The stronger lower control.
    """
    above = [*scores.get(UPPER, {}).values()]
    if below is None or not above:
        lacking = [UPPER] * (not above) + [" or ".join(LOWER)] * (below is None)
        return f"there is no score of {' and of '.join(lacking)}"
    high, low = interval(above), interval([*scores[below].values()])
    if high is None or low is None:
        return "intervals need at least two seeds"
    if high[0] <= low[1]:
        return not_above(below, reversed_=high[1] < low[0])
    return None


def not_above(below: str, reversed_: bool) -> str:
    """Return why there is no recovery if backprop is not clearly above the lower control.

    Args:
        below: The lower control.
        reversed_: Whether its interval lies entirely above that of backprop.
    """
    if reversed_:
        return f"{UPPER} is worse than {below}: the 95% interval of {below} lies above it"
    return f"the 95% intervals of {UPPER} and {below} overlap"


def recovered(
    scores: Mapping[str, Mapping[int, float]], rule: str, below: str | None, reason: str | None
) -> dict[str, Any]:
    """Return a rule's recovery: its share of backprop's gain over the stronger lower control.

    Returns:
        `recovery`, the ratio of the mean gains over the seeds that all three have; its
        `recovery_interval` (Fieller's, at 95 %); `recovery_below`, the control; and
        `recovery_reason`, why there is no recovery.
    """
    found = None
    if below is not None and reason is None:
        own, above, base = scores[rule], scores[UPPER], scores[below]
        seeds = sorted(own.keys() & above.keys() & base.keys())
        gain = [own[seed] - base[seed] for seed in seeds]
        found = fieller(gain, [above[seed] - base[seed] for seed in seeds])
        if found is None and own:
            reason = f"too few seeds ({len(seeds)}) have scores of {rule} and of both controls"
    return {
        "recovery": None if found is None else found.value,
        "recovery_interval": None if found is None else [found.low, found.high],
        "recovery_below": below,
        "recovery_reason": reason,
    }


def by_seed(runs: Iterable[Mapping[str, Any]], chance: float | None) -> dict[int, float]:
    """Return the test score of each seed; a diverged run has that of chance, a failed one none."""
    found = {}
    for run in runs:
        value = counted(run, chance)
        if value is not None:
            found[run["seed"]] = value
    return found


def counted(run: Mapping[str, Any], chance: float | None) -> float | None:
    """Return the test score that counts for a run."""
    if run["status"] == "diverged":
        return chance
    score: float | None = (run.get("test") or {}).get("score")
    return score if run["status"] == "finished" else None


def interval(scores: Sequence[float]) -> list[float] | None:
    """Return Student's interval of the mean at 95 %; None for fewer than two scores."""
    found = paired(scores)
    return None if found is None else [found.low, found.high]


def score_interval(row: Mapping[str, Any], runs: Iterable[Mapping[str, Any]]) -> list[float] | None:
    """Return the interval of a row's score, computed from the runs for an old record without it."""
    if "score_interval" in row:
        known: list[float] | None = row["score_interval"]
        return known
    own = [run for run in runs if run["rule"]["name"] == row["rule"]]
    return interval([*by_seed(own, None).values()])


def spread(row: Mapping[str, Any], runs: Iterable[Mapping[str, Any]]) -> float | None:
    """Return half the interval of a row's score, or the standard deviation if it has none."""
    found = score_interval(row, runs)
    deviation: float | None = row.get("score_std")
    return deviation if found is None else (found[1] - found[0]) / 2


def finished(runs: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the runs that finished with finite numbers."""
    return [run for run in runs if run["status"] == "finished"]


def mean(values: Sequence[float]) -> float | None:
    """Return the mean; None for no values."""
    return statistics.fmean(values) if values else None


def deviation(values: Sequence[float]) -> float | None:
    """Return the sample standard deviation; None for fewer than two values."""
    return statistics.stdev(values) if len(values) > 1 else None
