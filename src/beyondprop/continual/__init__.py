"""Continual learning: forgetting on sequences of tasks, and methods against it, under any rule."""

from beyondprop.continual.learning import Learned, learn, learn_together
from beyondprop.continual.matrix import Matrix
from beyondprop.continual.memory import Reservoir
from beyondprop.continual.methods import METHODS, Method, make
from beyondprop.continual.streams import (
    Experience,
    Stream,
    domains,
    pairs_of,
    permuted,
    split_classes,
)
from beyondprop.continual.texts import genres
from beyondprop.lazy import listing

__all__ = [
    "METHODS",
    "Experience",
    "Learned",
    "Matrix",
    "Method",
    "Reservoir",
    "Stream",
    "domains",
    "genres",
    "learn",
    "learn_together",
    "make",
    "pairs_of",
    "permuted",
    "split_classes",
]
__dir__ = listing(__all__)
