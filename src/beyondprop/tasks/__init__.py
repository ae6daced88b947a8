"""Tasks: a data set with a model, a loss and a metric."""

from beyondprop.tasks.base import (
    Contrast,
    Data,
    Metric,
    Split,
    Task,
    accuracy,
)
from beyondprop.tasks.data import FileSource
from beyondprop.tasks.optimizers import OPTIMIZERS, OptimizerFactory
from beyondprop.tasks.registry import TASKS, find

__all__ = [
    "OPTIMIZERS",
    "TASKS",
    "Contrast",
    "Data",
    "FileSource",
    "Metric",
    "OptimizerFactory",
    "Split",
    "Task",
    "accuracy",
    "find",
]
