"""Layers between a block and its classifier, which learn with it and are discarded."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from beyondprop.core import At
from beyondprop.errors import UserError
from beyondprop.registry import check_fields
from beyondprop.registry.limits import Count, Limits
from beyondprop.rules.local.heads import Head
from beyondprop.shapes import channels_first


class Auxiliary(ABC):
    """Layers between a block and its classifier."""

    name: ClassVar[str]

    def __post_init__(self) -> None:
        check_fields(self)

    @abstractmethod
    def apply(self, at: At, head: Head) -> Tensor:
        """Return the classifier's input, computed from the block's output."""

    def parameters(self, depth: float) -> Sequence[str]:  # noqa: ARG002
        """Return the names of the parameters at this depth (0 to 1)."""
        return ()


@dataclass(frozen=True)
class AugLocal(Auxiliary):
    """Auxiliary networks whose depth falls linearly towards the output (Ma et al. 2024).

    Early blocks get the deepest, so that they learn features that are useful to more than one
    layer. The paper selects the layers from those that follow in the network; here they are as wide
    as the block: 3 x 3 convolutions normalised with batch statistics, or linear layers, with ReLU.

    Args:
        first: Number of layers on the first block.
        last: Number of layers on the last block.
    """

    name: ClassVar[str] = "auglocal"
    first: Annotated[int, Limits(0)] = 3
    last: Annotated[int, Limits(0)] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.last > self.first:
            raise UserError(
                f"AugLocal's depth must not rise towards the output, from {self.first} layers to "
                f"{self.last}: give last= a value of first= or less"
            )

    def layers(self, depth: float) -> int:
        """Return the number of layers of a block at this depth."""
        return round(self.first + depth * (self.last - self.first))

    def apply(self, at: At, head: Head) -> Tensor:
        """Return the last layer's output."""
        x = at.output
        assert x is not None
        channels = channels_first(x, at.axes)
        for i in range(self.layers(at.block.depth)):
            if channels:
                x = head.convolution(f"auxiliary{i}", x, x.shape[1])
                x = F.relu(F.batch_norm(x, None, None, training=True))
            else:
                x = F.relu(head.linear(f"auxiliary{i}", x, x.shape[-1]))
        return x

    def parameters(self, depth: float) -> Sequence[str]:
        """Return the names of the layers' parameters."""
        layers = range(self.layers(depth))
        return [f"auxiliary{i}.{part}" for i in layers for part in ("weight", "bias")]


@dataclass(frozen=True)
class PooledConvolution(Auxiliary):
    """The layers before InfoPro's classifier in the released code, its default '1c2f'.

    A 3 x 3 convolution without bias, batch normalisation, ReLU, the mean of each channel over its
    positions, a linear layer and ReLU (Wang et al. 2021). If a block has fewer than ``wide``
    channels, the convolution halves each side and doubles the channels; otherwise it keeps both. It
    requires feature maps and one class for each sample.

    Args:
        hidden: Number of outputs of the linear layer.
        wide: Number of channels from which the convolution keeps sides and channels.
    """

    name: ClassVar[str] = "pooled-convolution"
    hidden: Count = 128
    wide: Count = 64

    def apply(self, at: At, head: Head) -> Tensor:
        """Return the linear layer's output, ``(batch, hidden)``.

        Raises:
            UserError: The block's output is not a feature map, or its positions have their own
                targets.
        """
        x, targets = at.output, at.run.targets
        assert x is not None
        if not channels_first(x, at.axes) or _by_position(targets):
            raise UserError(
                "PooledConvolution needs feature maps and one class for each sample, and block "
                f"'{at.block.name}' does not have these: give it LocalLoss(CrossEntropy())"
            )
        narrow = x.shape[1] < self.wide
        channels, stride = (2 * x.shape[1], 2) if narrow else (x.shape[1], 1)
        x = head.convolution("auxiliary", x, channels, stride=stride, bias=False)
        x = F.relu(head.normalisation("norm", x)).flatten(2).mean(2)  # (batch, channels)
        return F.relu(head.linear("hidden", x, self.hidden))

    def parameters(self, depth: float) -> Sequence[str]:  # noqa: ARG002
        """Return the names of the layers' parameters."""
        return ("auxiliary.weight", "norm.weight", "norm.bias", "hidden.weight", "hidden.bias")


def _by_position(targets: Tensor | None) -> bool:
    """Whether targets are classes of positions; labels and values belong to samples."""
    if targets is None or targets.is_floating_point() or targets.dtype == torch.bool:
        return False
    return targets.dim() > 1


REGISTERED = (AugLocal, PooledConvolution)
