"""The report: one HTML file with the results of runs and how they were obtained."""

from beyondprop.lazy import listing
from beyondprop.report.build import (
    render,
    render_audit,
    render_distillation,
    render_modalities,
    write,
)
from beyondprop.report.scaling import render_scaling, write_scaling

__all__ = [
    "render",
    "render_audit",
    "render_distillation",
    "render_modalities",
    "render_scaling",
    "write",
    "write_scaling",
]
__dir__ = listing(__all__)
