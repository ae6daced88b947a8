"""How reliable a classifier's confidence is.

A forecast consists of a confidence and of whether the forecast was correct.
"""

from beyondprop.audit.calibration.bins import equal_mass, equal_width
from beyondprop.audit.calibration.error import calibration_error, greatest_error, reliability
from beyondprop.audit.calibration.forecasts import Forecasts
from beyondprop.audit.calibration.intervals import error_by_chance, error_interval, mean_interval
from beyondprop.audit.calibration.scores import brier, negative_log_likelihood
from beyondprop.audit.calibration.section import Calibration, calibration, logits_and_targets

__all__ = [
    "Calibration",
    "Forecasts",
    "brier",
    "calibration",
    "calibration_error",
    "equal_mass",
    "equal_width",
    "error_by_chance",
    "error_interval",
    "greatest_error",
    "logits_and_targets",
    "mean_interval",
    "negative_log_likelihood",
    "reliability",
]
