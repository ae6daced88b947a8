"""The quality of a minimum: curvature, loss landscape, connectivity of two networks, and small
problems with a known minimum.
"""

from beyondprop.audit.minima.choices import Switches, switches
from beyondprop.audit.minima.connectivity import Between, along, matched
from beyondprop.audit.minima.curvature import (
    Estimate,
    Slope,
    Spectrum,
    mean,
    slope,
    spectrum,
    trace,
)
from beyondprop.audit.minima.known import (
    DEEP_LINEAR,
    PROBLEMS,
    TEACHER_STUDENT,
    Budget,
    Problem,
    Reached,
    chosen,
    reached,
)
from beyondprop.audit.minima.landscape import direction, line, plane, rises, sharpness
from beyondprop.audit.minima.matching import weight_matching
from beyondprop.audit.minima.section import Minima
from beyondprop.audit.minima.units import Hidden, hidden_units, permuted
from beyondprop.audit.minima.weight_loss import WeightLoss

__all__ = [
    "DEEP_LINEAR",
    "PROBLEMS",
    "TEACHER_STUDENT",
    "Between",
    "Budget",
    "Estimate",
    "Hidden",
    "Minima",
    "Problem",
    "Reached",
    "Slope",
    "Spectrum",
    "Switches",
    "WeightLoss",
    "along",
    "chosen",
    "direction",
    "hidden_units",
    "line",
    "matched",
    "mean",
    "permuted",
    "plane",
    "reached",
    "rises",
    "sharpness",
    "slope",
    "spectrum",
    "switches",
    "trace",
    "weight_matching",
]
