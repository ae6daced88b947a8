"""The report: one HTML file that says what a comparison found, and how."""

from beyondprop.report.build import render, write

__all__ = ["render", "write"]
