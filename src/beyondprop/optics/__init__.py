"""Optics: a simulated photonic co-processor, part by part, and its cost."""

from beyondprop.lazy import listing
from beyondprop.optics.bench import Bench
from beyondprop.optics.calibration import Calibrated, Calibration, calibrate
from beyondprop.optics.camera import Camera
from beyondprop.optics.cost import (
    Electronics,
    Link,
    PhotonicCost,
    StepCost,
    break_even,
    electronic_cost,
    measured_rate,
    optical_cost,
    step_cost,
)
from beyondprop.optics.device import PhotonicProcessor, Specification
from beyondprop.optics.encoder import (
    Binary,
    BitPlanes,
    Encoder,
    Exact,
    Ternary,
    UnevenTernary,
)
from beyondprop.optics.feature_layer import CalibratedFeatures, Features, OpticalFeatures
from beyondprop.optics.medium import Medium
from beyondprop.optics.opu_map import OPUMap
from beyondprop.optics.parts import PARTS, PROCESSORS, build
from beyondprop.optics.presets import PRESETS, ideal, lighton_opu
from beyondprop.optics.projection import Clock, PhotonicProjection
from beyondprop.optics.retrieval import (
    Anchors,
    OffAxis,
    PhaseShifting,
    Retrieval,
)
from beyondprop.optics.scattering import Scattering
from beyondprop.projections import PROJECTIONS

for _kind in (PhotonicProjection, Calibrated):
    PROJECTIONS.add(_kind.name, _kind, PROCESSORS)

__all__ = [
    "PARTS",
    "PRESETS",
    "PROCESSORS",
    "Anchors",
    "Bench",
    "Binary",
    "BitPlanes",
    "Calibrated",
    "CalibratedFeatures",
    "Calibration",
    "Camera",
    "Clock",
    "Electronics",
    "Encoder",
    "Exact",
    "Features",
    "Link",
    "Medium",
    "OPUMap",
    "OffAxis",
    "OpticalFeatures",
    "PhaseShifting",
    "PhotonicCost",
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
__dir__ = listing(__all__)
