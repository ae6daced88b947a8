"""Experiments: a spec in, a folder with a record out."""

from beyondprop._torch.weights import read_weights
from beyondprop.experiment.comparison import compare
from beyondprop.experiment.run import train
from beyondprop.experiment.scaling import Sizes, scale
from beyondprop.experiment.several import compare_tasks
from beyondprop.experiment.spec import Adversarial, CompareSpec, RunSpec

__all__ = [
    "Adversarial",
    "CompareSpec",
    "RunSpec",
    "Sizes",
    "compare",
    "compare_tasks",
    "read_weights",
    "scale",
    "train",
]
