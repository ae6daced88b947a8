"""Experiments: a spec in, a folder with a record out."""

from beyondprop.experiment.comparison import compare
from beyondprop.experiment.run import train
from beyondprop.experiment.spec import CompareSpec, RunSpec

__all__ = ["CompareSpec", "RunSpec", "compare", "train"]
