"""Tasks: a data set with a model, a loss and a metric."""

from beyondprop._torch.calling import arguments_of, call
from beyondprop.lazy import listing
from beyondprop.tasks.base import Contrast, Task
from beyondprop.tasks.calling import attached, taught
from beyondprop.tasks.data import FileSource
from beyondprop.tasks.graphs import from_planetoid
from beyondprop.tasks.language import from_text, shakespeare
from beyondprop.tasks.metrics import (
    Metric,
    accuracy,
    auc,
    macro_f1,
    negative_mae,
    psnr,
    r_squared,
)
from beyondprop.tasks.multimodal import from_aligned, generated, informative, mfeat
from beyondprop.tasks.optimizers import OPTIMIZERS, OptimizerFactory
from beyondprop.tasks.registry import TASKS, find
from beyondprop.tasks.samples import Data, DatasetSplit, Samples, Split, from_dataset
from beyondprop.tasks.views import Views

from_csv, from_folder = Task.from_csv, Task.from_folder
"""Factories for tasks from your own files, by the names that specs use."""

__all__ = [
    "OPTIMIZERS",
    "TASKS",
    "Contrast",
    "Data",
    "DatasetSplit",
    "FileSource",
    "Metric",
    "OptimizerFactory",
    "Samples",
    "Split",
    "Task",
    "Views",
    "accuracy",
    "arguments_of",
    "attached",
    "auc",
    "call",
    "find",
    "from_aligned",
    "from_csv",
    "from_dataset",
    "from_folder",
    "from_planetoid",
    "from_text",
    "generated",
    "informative",
    "macro_f1",
    "mfeat",
    "negative_mae",
    "psnr",
    "r_squared",
    "shakespeare",
    "taught",
]
__dir__ = listing(__all__)
