"""Schedules: when each block computes and steps."""

from beyondprop.core import Schedule
from beyondprop.lazy import listing
from beyondprop.schedules.balance import counted_costs, partition
from beyondprop.schedules.data_parallel import DataParallel
from beyondprop.schedules.immediate import Immediate
from beyondprop.schedules.pipeline import Pipeline

__all__ = ["DataParallel", "Immediate", "Pipeline", "Schedule", "counted_costs", "partition"]
__dir__ = listing(__all__)
