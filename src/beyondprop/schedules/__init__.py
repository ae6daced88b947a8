"""Schedules: when each block computes and steps."""

from .base import Schedule
from .immediate import Immediate

__all__ = ["Immediate", "Schedule"]
