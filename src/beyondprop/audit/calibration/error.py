"""The gap between confidence and accuracy, by bin."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from beyondprop.audit.calibration.bins import BINS, Binning, Places, equal_width
from beyondprop.audit.calibration.forecasts import Forecasts


def reliability(
    forecasts: Forecasts, bins: int = BINS, binning: Binning = equal_width
) -> list[dict[str, Any]]:
    """Return the reliability curve as JSON: for each nonempty bin its "count", its mean
    "confidence" and its "accuracy".
    """
    counts, sure, came = _sums(forecasts, binning(forecasts.sure, bins), bins)
    return [
        {"count": int(n), "confidence": float(s / n), "accuracy": float(c / n)}
        for n, s, c in zip(counts, sure, came, strict=True)
        if n
    ]


def calibration_error(
    forecasts: Forecasts, bins: int = BINS, binning: Binning = equal_width
) -> float:
    """Return the expected calibration error: the mean over all forecasts of the gap between the
    confidence and the accuracy of their bin.

    Naeini, Cooper and Hauskrecht 2015, section 4; Guo et al. 2017, equation 3.
    """
    return error_of(forecasts, binning(forecasts.sure, bins), bins)


def greatest_error(forecasts: Forecasts, bins: int = BINS, binning: Binning = equal_width) -> float:
    """Return the maximum calibration error: the largest gap of any bin (Guo et al. 2017, equation
    5). It may depend on a bin with few forecasts.
    """
    found = reliability(forecasts, bins, binning)
    return max(float(abs(each["accuracy"] - each["confidence"])) for each in found)


def _sums(forecasts: Forecasts, places: Places, bins: int) -> list[NDArray[Any]]:
    """Return for each bin its count, its sum of confidences and its number of correct forecasts."""
    weights = (None, forecasts.sure, forecasts.came)
    return [np.bincount(places, each, minlength=bins) for each in weights]


def error_of(forecasts: Forecasts, places: Places, bins: int) -> float:
    """Return the expected calibration error of forecasts whose bins are given."""
    _, sure, came = _sums(forecasts, places, bins)
    return float(np.abs(came - sure).sum() / len(places))
