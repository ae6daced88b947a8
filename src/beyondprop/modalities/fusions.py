"""Ways to join modalities by name, for comparisons that try several."""

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
        kind: (widths, width, and the settings by name) to a fusion; a class of it, say.
        settings: By name.
    """

    kind: Callable[..., Fusion]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, widths: Mapping[str, int], width: int) -> Fusion:
        """Return a fusion of modalities.

        Args:
            widths: Features of each modality, by name, in order.
            width: Of each modality's vector.
        """
        return self.kind(widths, width, **self.settings)


def attention(hidden: Count | None = None) -> Joining:
    """One weight for each modality of a sample (Ismail, Hasan and Ishtiaq 2020)."""
    return Joining(Attention, {"hidden": hidden})


def concatenation() -> Joining:
    """The vectors of modalities, one behind another."""
    return Joining(Concatenation)


def gating() -> Joining:
    """A gate for each feature of each modality (Arevalo et al. 2017)."""
    return Joining(Gating)


def low_rank(rank: Count = 4) -> Joining:
    """The outer product of all vectors times a tensor of low rank (Liu et al. 2018)."""
    return Joining(LowRankTensor, {"rank": rank})


def cross_attention(heads: Count = 2) -> Joining:
    """Each modality's vector with what it reads of the others (after Tsai et al. 2019)."""
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
    """Return a network with another fusion; its encoders, projections and head stay its own.

    A head that is one linear layer is drawn again if the fusion returns another number of features.

    Args:
        network: It must not be used afterwards: the returned network has its modules.
        joining: Makes the fusion.

    Raises:
        UserError: The head is another module and takes another number of features.
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
