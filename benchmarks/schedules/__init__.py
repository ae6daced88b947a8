"""Schedules across processes."""
