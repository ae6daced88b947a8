"""Which groups a model disadvantages: rates of groups of people, and their differences.

For manual use: create `Decisions` from a model's outputs and the people's groups, call `by_group`
and `differences` for the figures (fairlearn's), and `intervals` and `chance` for their uncertainty.
"""

from beyondprop.audit.fairness.decisions import Decisions, decisions_of
from beyondprop.audit.fairness.figures import by_group, calibration_error, differences, reliability
from beyondprop.audit.fairness.paired import Change, changes
from beyondprop.audit.fairness.resampling import Chance, Interval, chance, intervals
from beyondprop.audit.fairness.section import Fairness

__all__ = [
    "Chance",
    "Change",
    "Decisions",
    "Fairness",
    "Interval",
    "by_group",
    "calibration_error",
    "chance",
    "changes",
    "decisions_of",
    "differences",
    "intervals",
    "reliability",
]
