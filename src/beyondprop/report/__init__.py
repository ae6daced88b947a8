"""The report: one HTML file that says what a comparison found, and how."""

from beyondprop.report.build import render, write
from beyondprop.report.scaling import render_scaling, write_scaling

__all__ = ["render", "render_scaling", "write", "write_scaling"]
