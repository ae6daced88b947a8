"""Operations with a backward of their own."""

from torch import nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from beyondprop.layers.attention import FeedbackMultiheadAttention
from beyondprop.layers.conv import FeedbackConv1d, FeedbackConv2d, FeedbackConv3d
from beyondprop.layers.conv_transpose import (
    FeedbackConvTranspose1d,
    FeedbackConvTranspose2d,
    FeedbackConvTranspose3d,
)
from beyondprop.layers.feedback import AtWeights
from beyondprop.layers.linear import FeedbackLinear
from beyondprop.layers.recurrent import FeedbackGRUCell, FeedbackLSTMCell, FeedbackRNNCell
from beyondprop.shapes import NORMS

OPERATIONS: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: FeedbackLinear,
    NonDynamicallyQuantizableLinear: FeedbackLinear,  # what attention calls its out_proj
    nn.Conv1d: FeedbackConv1d,
    nn.Conv2d: FeedbackConv2d,
    nn.Conv3d: FeedbackConv3d,
    nn.ConvTranspose1d: FeedbackConvTranspose1d,
    nn.ConvTranspose2d: FeedbackConvTranspose2d,
    nn.ConvTranspose3d: FeedbackConvTranspose3d,
    nn.MultiheadAttention: FeedbackMultiheadAttention,
    nn.RNNCell: FeedbackRNNCell,
    nn.GRUCell: FeedbackGRUCell,
    nn.LSTMCell: FeedbackLSTMCell,
}
"""The class that a layer has while a rule of layers is attached."""

EXACT = (*NORMS, nn.PReLU, nn.Embedding, nn.EmbeddingBag)
"""Layers that carry no error through a weight matrix: their backward stays exact."""

__all__ = ["EXACT", "NORMS", "OPERATIONS", "AtWeights"]
