"""Operations with a backward of their own."""

from beyondprop.layers.exact import EXACT, is_no_matrix
from beyondprop.layers.feedback import AtWeights
from beyondprop.layers.operations import FORWARD, OPERATIONS, feedback_class, is_made_of
from beyondprop.shapes import NORMS

__all__ = [
    "EXACT",
    "FORWARD",
    "NORMS",
    "OPERATIONS",
    "AtWeights",
    "feedback_class",
    "is_made_of",
    "is_no_matrix",
]
