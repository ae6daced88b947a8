"""How sure calibration errors and scores are, and what errors chance gives: by drawing again."""

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

    Chance opens gaps in the bins of a sample, so its error is too great on average, and those of
    the resamples are too great once more by about as much. The basic interval (Davison and Hinkley
    1997, equation 5.6) takes that off, and may lie below the error itself; it ends at 0.
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
    """Return between which expected calibration errors 95 % lie where each forecast comes true as
    often as it says: what so many forecasts show of a perfectly calibrated model (Bröcker and Smith
    2007).
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
    """Return the 95 % interval of a mean of ``(n,)`` values, by the percentile bootstrap."""
    known = plain(values) if isinstance(values, Tensor) else values
    found = [known[rows].mean() for rows in _resampled(len(known), resamples, seed)]
    return [float(each) for each in np.quantile(found, _tails())]


def _resampled(count: int, resamples: int, seed: int) -> Iterator[Places]:
    """Yield rows drawn with replacement, so many times."""
    draw = np.random.default_rng(seed)
    for _ in range(resamples):
        yield draw.integers(count, size=count)


def _tails() -> list[float]:
    return [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
