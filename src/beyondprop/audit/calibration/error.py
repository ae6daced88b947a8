"""How far confidence and accuracy lie apart, bin by bin."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from beyondprop.audit.calibration.bins import BINS, Binning, Places, equal_width
from beyondprop.audit.calibration.forecasts import Forecasts


def reliability(
    forecasts: Forecasts, bins: int = BINS, binning: Binning = equal_width
) -> list[dict[str, Any]]:
    """Return the reliability curve as JSON: of each bin that holds forecasts their "count", how
    sure they were on average ("confidence"), and which share came true ("accuracy").
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
    """Return the expected calibration error: the gap between confidence and accuracy of a bin, as a
    mean over all forecasts.

    Naeini, Cooper and Hauskrecht 2015, section 4; Guo et al. 2017, equation 3.
    """
    return error_of(forecasts, binning(forecasts.sure, bins), bins)


def greatest_error(forecasts: Forecasts, bins: int = BINS, binning: Binning = equal_width) -> float:
    """Return the maximum calibration error: the greatest gap of a bin (Guo et al. 2017, equation
    5). A bin of few forecasts may decide it.
    """
    found = reliability(forecasts, bins, binning)
    return max(float(abs(each["accuracy"] - each["confidence"])) for each in found)


def _sums(forecasts: Forecasts, places: Places, bins: int) -> list[NDArray[Any]]:
    """Return of each bin how many forecasts, the sum of how sure they were, how many came true."""
    weights = (None, forecasts.sure, forecasts.came)
    return [np.bincount(places, each, minlength=bins) for each in weights]


def error_of(forecasts: Forecasts, places: Places, bins: int) -> float:
    """Return the expected calibration error of forecasts that lie in these bins."""
    _, sure, came = _sums(forecasts, places, bins)
    return float(np.abs(came - sure).sum() / len(places))
