"""Optics: a simulated photonic co-processor, part by part, and what it would cost."""

from .bench import Bench
from .calibration import Calibrated, Calibration, calibrate
from .camera import Camera
from .cost import (
    Cost,
    Electronics,
    Link,
    break_even,
    electronic_cost,
    measured_rate,
    optical_cost,
)
from .device import PhotonicProcessor, Specification
from .encoder import Binary, BitPlanes, Encoder, Exact, Ternary, UnevenTernary
from .feature_layer import CalibratedFeatures, OpticalFeatures
from .medium import Medium
from .opu_map import OPUMap
from .parts import PARTS, build
from .presets import PRESETS, ideal, lighton_opu
from .projection import Clock, PhotonicProjection
from .retrieval import Anchors, OffAxis, PhaseShifting, Retrieval
from .scattering import Scattering
from .step_cost import StepCost, step_cost

__all__ = [
    "PARTS",
    "PRESETS",
    "Anchors",
    "Bench",
    "Binary",
    "BitPlanes",
    "Calibrated",
    "CalibratedFeatures",
    "Calibration",
    "Camera",
    "Clock",
    "Cost",
    "Electronics",
    "Encoder",
    "Exact",
    "Link",
    "Medium",
    "OPUMap",
    "OffAxis",
    "OpticalFeatures",
    "PhaseShifting",
    "PhotonicProcessor",
    "PhotonicProjection",
    "Retrieval",
    "Scattering",
    "Specification",
    "StepCost",
    "Ternary",
    "UnevenTernary",
    "break_even",
    "build",
    "calibrate",
    "electronic_cost",
    "ideal",
    "lighton_opu",
    "measured_rate",
    "optical_cost",
    "step_cost",
]
