"""Operations with a backward of their own."""

from torch import nn

from beyondprop.layers.feedback import AtWeights
from beyondprop.layers.operations import FORWARD, OPERATIONS, feedback_class, is_made_of
from beyondprop.shapes import NORMS

EXACT = (*NORMS, nn.PReLU, nn.Embedding, nn.EmbeddingBag)
"""Layers that carry no error through a weight matrix: their backward stays exact."""

__all__ = ["EXACT", "FORWARD", "NORMS", "OPERATIONS", "AtWeights", "feedback_class", "is_made_of"]
