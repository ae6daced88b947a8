"""Forecasts of about one confidence are put into one bin."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from beyondprop.audit.calibration.forecasts import Numbers

Places = NDArray[np.int64]
Binning = Callable[[Numbers, int], Places]
"""How sure forecasts are ``(n,)`` and how many bins, to each one's bin ``(n,)``, from 0."""

BINS = 15


def equal_width(sure: Numbers, bins: int) -> Places:
    """Return bins of one width: bin b holds what is above b / bins, up to (b + 1) / bins; the first
    holds 0 too (Naeini et al. 2015; Guo et al. 2017).
    """
    edges = np.linspace(0, 1, bins + 1)[1:-1]
    return np.searchsorted(edges, sure, side="left").astype(np.int64)


def equal_mass(sure: Numbers, bins: int) -> Places:
    """Return bins of as many forecasts each, or one more, in the order of how sure they are."""
    places = np.empty(len(sure), np.int64)
    places[np.argsort(sure, kind="stable")] = np.arange(len(sure))
    return places * bins // len(sure)
