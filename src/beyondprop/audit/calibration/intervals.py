"""Bootstrap intervals of calibration errors and scores, and the calibration error due to chance."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from beyondprop.audit.calibration.bins import BINS, Binning, Places, equal_width
from beyondprop.audit.calibration.error import error_of
from beyondprop.audit.calibration.forecasts import Forecasts, plain

RESAMPLES = 1000
LEVEL = 0.95


def error_interval(
    forecasts: Forecasts,
    bins: int = BINS,
    binning: Binning = equal_width,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[float]:
    """Return the 95 % interval of the expected calibration error, by the basic bootstrap.

    Sampling noise opens gaps in the bins, so the error of a sample is biased upwards, and the
    errors of the resamples are biased upwards again by about the same amount. The basic interval
    (Davison and Hinkley 1997, equation 5.6) corrects this bias. It may lie below the error itself;
    it is cut off at 0.
    """
    places = binning(forecasts.sure, bins)

    def of(rows: Places) -> float:
        return error_of(Forecasts(forecasts.sure[rows], forecasts.came[rows]), places[rows], bins)

    found = error_of(forecasts, places, bins)
    again = [of(rows) for rows in _resampled(len(places), resamples, seed)]
    low, high = np.quantile(again, _tails())
    return [max(0.0, 2 * found - float(high)), max(0.0, 2 * found - float(low))]


def error_by_chance(
    forecasts: Forecasts,
    bins: int = BINS,
    binning: Binning = equal_width,
    draws: int = RESAMPLES,
    seed: int = 0,
) -> list[float]:
    """Return the central 95 % interval of the expected calibration error of a perfectly calibrated
    model with the same confidences: each forecast is correct with its stated probability (Bröcker
    and Smith 2007).
    """
    places, draw = binning(forecasts.sure, bins), np.random.default_rng(seed)
    found = []
    for _ in range(draws):
        came = draw.random(len(places)) < forecasts.sure
        found.append(error_of(Forecasts(forecasts.sure, came), places, bins))
    return [float(each) for each in np.quantile(found, _tails())]


def mean_interval(
    values: Tensor | NDArray[Any], resamples: int = RESAMPLES, seed: int = 0
) -> list[float]:
    """Return the 95 % interval of the mean of ``(n,)`` values, by the percentile bootstrap."""
    known = plain(values) if isinstance(values, Tensor) else values
    found = [known[rows].mean() for rows in _resampled(len(known), resamples, seed)]
    return [float(each) for each in np.quantile(found, _tails())]


def _resampled(count: int, resamples: int, seed: int) -> Iterator[Places]:
    """Yield `resamples` arrays of row numbers, drawn with replacement."""
    draw = np.random.default_rng(seed)
    for _ in range(resamples):
        yield draw.integers(count, size=count)


def _tails() -> list[float]:
    return [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
