"""Layers with a modified backward pass."""

from beyondprop.layers.conv import convolution
from beyondprop.layers.exact import EXACT, is_no_matrix
from beyondprop.layers.feedback import AtWeights
from beyondprop.layers.linear import linear
from beyondprop.layers.operations import (
    FORWARD,
    OPERATIONS,
    feedback_class,
    is_made_of,
    is_transposed,
    register_operation,
)
from beyondprop.layers.own import Operation
from beyondprop.lazy import listing
from beyondprop.shapes import NORMS

__all__ = [
    "EXACT",
    "FORWARD",
    "NORMS",
    "OPERATIONS",
    "AtWeights",
    "Operation",
    "convolution",
    "feedback_class",
    "is_made_of",
    "is_no_matrix",
    "is_transposed",
    "linear",
    "register_operation",
]
__dir__ = listing(__all__)
