"""Networks with several kinds of input: sub-networks are trained alone, then together."""

from beyondprop.lazy import listing
from beyondprop.modalities.alone import SubNetwork, Trained, pretrain
from beyondprop.modalities.fusion import (
    Attention,
    Concatenation,
    CrossAttention,
    Fusion,
    Gating,
    LowRankTensor,
)
from beyondprop.modalities.fusions import FUSIONS, Joining
from beyondprop.modalities.joint import Joined, join
from beyondprop.modalities.network import MultimodalNetwork

__all__ = [
    "FUSIONS",
    "Attention",
    "Concatenation",
    "CrossAttention",
    "Fusion",
    "Gating",
    "Joined",
    "Joining",
    "LowRankTensor",
    "MultimodalNetwork",
    "SubNetwork",
    "Trained",
    "join",
    "pretrain",
]
__dir__ = listing(__all__)
