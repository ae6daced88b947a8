"""Groups forecasts of similar confidence into bins."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from beyondprop.audit.calibration.forecasts import Numbers

Places = NDArray[np.int64]
Binning = Callable[[Numbers, int], Places]
"""(confidences ``(n,)``, number of bins) to the bin of each forecast ``(n,)``, counted from 0."""

BINS = 15


def equal_width(sure: Numbers, bins: int) -> Places:
    """Return bins of equal width: bin b holds confidences above b / bins and up to (b + 1) / bins;
    the first bin also holds 0 (Naeini et al. 2015; Guo et al. 2017).
    """
    edges = np.linspace(0, 1, bins + 1)[1:-1]
    return np.searchsorted(edges, sure, side="left").astype(np.int64)


def equal_mass(sure: Numbers, bins: int) -> Places:
    """Return bins of equal size in order of confidence; sizes differ by at most one forecast."""
    places = np.empty(len(sure), np.int64)
    places[np.argsort(sure, kind="stable")] = np.arange(len(sure))
    return places * bins // len(sure)
