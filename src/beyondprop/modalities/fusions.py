"""Fusions by name, for comparisons that try several."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from beyondprop.errors import UserError
from beyondprop.modalities.fusion import (
    Attention,
    Concatenation,
    CrossAttention,
    Fusion,
    Gating,
    LowRankTensor,
)
from beyondprop.modalities.network import MultimodalNetwork
from beyondprop.registry import Registry
from beyondprop.registry.limits import Count


@dataclass(frozen=True)
class Joining:
    """A kind of fusion with its settings, for modalities of any widths.

    Attributes:
        kind: Builds a fusion from widths, a width, and the settings by name; a class, for example.
        settings: Settings by name.
    """

    kind: Callable[..., Fusion]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, widths: Mapping[str, int], width: int) -> Fusion:
        """Return a fusion of modalities.

        Args:
            widths: The number of features of each modality, by name, in order.
            width: The width of each modality's vector.
        """
        return self.kind(widths, width, **self.settings)


def attention(hidden: Count | None = None) -> Joining:
    """One weight for each modality of a sample (Ismail, Hasan and Ishtiaq 2020)."""
    return Joining(Attention, {"hidden": hidden})


def concatenation() -> Joining:
    """The vectors of modalities, concatenated."""
    return Joining(Concatenation)


def gating() -> Joining:
    """A gate for each feature of each modality (Arevalo et al. 2017)."""
    return Joining(Gating)


def low_rank(rank: Count = 4) -> Joining:
    """The outer product of all vectors times a tensor of low rank (Liu et al. 2018)."""
    return Joining(LowRankTensor, {"rank": rank})


def cross_attention(heads: Count = 2) -> Joining:
    """Each modality's vector plus its attention to the others (after Tsai et al. 2019)."""
    return Joining(CrossAttention, {"heads": heads})


FUSIONS: Registry[Joining] = Registry(
    "fusion",
    Joining,
    {
        "attention": attention,
        "concatenation": concatenation,
        "gating": gating,
        "low-rank": low_rank,
        "cross-attention": cross_attention,
    },
    key="fusion",
)
"""Every fusion by its short name."""


def joined_by(network: MultimodalNetwork, joining: Joining) -> MultimodalNetwork:
    """Return a network with another fusion, but the same encoders, projections and head.

    A head that is a single linear layer is replaced by a new one if the fusion returns another
    number of features.

    Args:
        network: Must not be used afterwards, as the returned network has its modules.
        joining: Builds the fusion.

    Raises:
        UserError: The fusion returns another number of features, and the head is not linear.
    """
    old, head = network.fusion, network.head
    fusion = joining(old.widths, old.width)
    fusion.project.load_state_dict(old.project.state_dict())
    if fusion.features != old.features:
        if type(head) is not nn.Linear:
            raise UserError(
                f"the head takes {old.features} features and {type(fusion).__name__} gives "
                f"{fusion.features}: only a head that is a single nn.Linear can be replaced, and "
                f"this one is a {type(head).__name__}"
            )
        head = nn.Linear(fusion.features, head.out_features, head.bias is not None)
    return MultimodalNetwork(dict(network.encoders.items()), fusion, head, network.dropout)
