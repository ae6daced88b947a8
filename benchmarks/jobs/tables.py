"""The table of the speed-up by several processes on pages, made from a record."""

from typing import Any

from benchmarks.common.tables import Cells
from benchmarks.jobs.scaling import gains


def gain(rows: list[dict[str, Any]]) -> Cells:
    """Return the medians: one row for the library and one for plain PyTorch."""
    return ("training", "gain, all rounds", "one process", "2 processes", "gain"), gains(rows)
