"""Schedules: when each block computes and steps."""

from .balance import measured_costs, partition
from .base import Schedule
from .data_parallel import DataParallel
from .immediate import Immediate
from .pipeline import Pipeline

__all__ = ["DataParallel", "Immediate", "Pipeline", "Schedule", "measured_costs", "partition"]
