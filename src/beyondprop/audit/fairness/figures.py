"""The figures of each group and their differences, by fairlearn."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beyondprop.audit import calibration
from beyondprop.audit.calibration import Forecasts
from beyondprop.audit.fairness.decisions import Decisions

BINS = 10
"""Number of probability bins of equal width, for the calibration error."""

RATES = ("selection_rate", "accuracy", "true_positive_rate", "false_positive_rate")
PARITY, RATIO = "demographic_parity_difference", "demographic_parity_ratio"
ODDS = "equalized_odds_difference"
ACCURACY, CALIBRATION = "accuracy_difference", "calibration_error_difference"
DIFFERENCES = (PARITY, RATIO, ODDS, ACCURACY, CALIBRATION)

Figures = dict[str, float | None]
"""Figures by name. A figure is None if it is undefined, such as the true positive rate of a group
without positives.
"""


def by_group(decisions: Decisions, bins: int = BINS) -> dict[str, Figures]:
    """Return the figures of each nonempty group.

    Returns:
        By the group's name: ``base_rate``, the share that is truly in the favourable class;
        ``selection_rate``, the share that the model assigns to it; ``accuracy``;
        ``true_positive_rate`` and ``false_positive_rate``, the selected shares of those who are
        truly in the class and of those who are not (None if there are no such people);
        ``mean_probability``; and ``calibration_error``, see `calibration_error`.
    """
    found = _frame(decisions, bins).by_group
    figures: dict[str, Figures] = {}
    for name in decisions.names:
        if name not in found.index:
            continue
        row: Figures = {key: float(value) for key, value in found.loc[name].items()}
        if row["base_rate"] == 0:  # fairlearn returns 0 for an empty group
            row["true_positive_rate"] = None
        if row["base_rate"] == 1:
            row["false_positive_rate"] = None
        figures[name] = row
    return figures


def differences(decisions: Decisions, bins: int = BINS) -> Figures:
    """Return the differences between the groups: the largest figure of any group minus the
    smallest.

    Returns:
        ``demographic_parity_difference`` and ``demographic_parity_ratio`` (smallest divided by
        largest) of the selection rates; ``equalized_odds_difference``, the larger of the
        differences of the true and the false positive rates (Hardt, Price and Srebro,
        arXiv:1610.02413); and the differences of accuracy and calibration error. None if fewer than
        two groups have the figure.
    """
    from fairlearn import metrics

    frame = _frame(decisions, bins)
    if len(frame.by_group) < 2:
        return dict.fromkeys(DIFFERENCES)
    apart = frame.difference(method="between_groups")
    # The true positive rate requires positives in the group, the false positive rate negatives.
    kept = [
        number
        for number in range(len(decisions.names))
        if len(set(decisions.truth[decisions.group == number].tolist())) == 2
    ]
    both = decisions.of_groups(kept) if len(kept) > 1 else None
    return {
        PARITY: float(apart["selection_rate"]),
        RATIO: float(metrics.demographic_parity_ratio(**_told(decisions)))
        if decisions.selected.any()
        else None,
        ODDS: None if both is None else float(metrics.equalized_odds_difference(**_told(both))),
        ACCURACY: float(apart["accuracy"]),
        CALIBRATION: float(apart["calibration_error"]),
    }


def calibration_error(truth: NDArray[Any], probability: NDArray[Any], bins: int = BINS) -> float:
    """Return the expected calibration error of the favourable class's probability.

    `beyondprop.audit.calibration` computes the same error, mostly of the predicted class's
    probability. With few samples it is large by chance alone.

    Args:
        truth: Whether each person is in the class, ``(n,)`` bool.
        probability: Probability of the class, ``(n,)`` from 0 to 1.
        bins: Number of bins of equal width.
    """
    return calibration.calibration_error(Forecasts(probability, truth.astype(bool)), bins)


def reliability(decisions: Decisions, bins: int = BINS) -> list[dict[str, float]]:
    """Return the reliability curve: for each nonempty bin ``predicted``, the mean probability,
    ``found``, the share in the favourable class, and ``samples``.
    """
    curve = calibration.reliability(Forecasts(decisions.probability, decisions.truth), bins)
    return [
        {"predicted": each["confidence"], "found": each["accuracy"], "samples": each["count"]}
        for each in curve
    ]


def plain(value: float | None) -> float | None:
    """Return the number, or None for NaN, which JSON does not have."""
    return None if value is None or math.isnan(value) else float(value)


def _frame(decisions: Decisions, bins: int) -> Any:
    """Return fairlearn's figures of the groups, indexed by group."""
    from fairlearn import metrics

    def base_rate(y_true: Any, y_pred: Any) -> float:
        del y_pred
        return float(np.mean(y_true))

    def mean_probability(y_true: Any, y_pred: Any, probability: Any) -> float:
        del y_true, y_pred
        return float(np.mean(probability))

    def error(y_true: Any, y_pred: Any, probability: Any) -> float:
        del y_pred
        return calibration_error(np.asarray(y_true), np.asarray(probability), bins)

    def accuracy(y_true: Any, y_pred: Any) -> float:
        return float(np.mean(np.asarray(y_true) == np.asarray(y_pred)))

    given = {"probability": decisions.probability}
    return metrics.MetricFrame(
        metrics={
            "base_rate": base_rate,
            "selection_rate": metrics.selection_rate,
            "accuracy": accuracy,
            "true_positive_rate": metrics.true_positive_rate,
            "false_positive_rate": metrics.false_positive_rate,
            "mean_probability": mean_probability,
            "calibration_error": error,
        },
        **_told(decisions),
        sample_params={"mean_probability": given, "calibration_error": given},
    )


def _told(decisions: Decisions) -> dict[str, Any]:
    """Return the arguments that all functions of fairlearn have in common."""
    return {
        "y_true": decisions.truth.astype(np.int64),
        "y_pred": decisions.selected.astype(np.int64),
        "sensitive_features": np.array(decisions.names, dtype=object)[decisions.group],
    }
