"""Measures: what training cost and what it bought. Each is a function of a model and data.

A measure leaves the model as it found it: parameters, gradients, buffers, train or eval mode, and
the global random generators.
"""

from collections.abc import Callable
from typing import Any

from beyondprop.measure.accuracy import Evaluation, confusion, evaluate
from beyondprop.measure.alignment import alignment, angle_degrees
from beyondprop.measure.isolation import Isolation, isolation
from beyondprop.measure.memory import PeakMemory, peak_memory
from beyondprop.measure.probe import linear_probe
from beyondprop.measure.step import Case, Step, rule_step
from beyondprop.measure.step_time import StepTime, step_time

MEASURES: dict[str, Callable[..., Any]] = {
    "accuracy": evaluate,
    "alignment": alignment,
    "isolation": isolation,
    "probe": linear_probe,
    "step-time": step_time,
    "memory": peak_memory,
}
"""Short name to measure; the first line of a measure's docstring says what it is."""

__all__ = [
    "MEASURES",
    "Case",
    "Evaluation",
    "Isolation",
    "PeakMemory",
    "Step",
    "StepTime",
    "alignment",
    "angle_degrees",
    "confusion",
    "evaluate",
    "isolation",
    "linear_probe",
    "peak_memory",
    "rule_step",
    "step_time",
]
