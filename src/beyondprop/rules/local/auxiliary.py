"""Layers between a block and its classifier, which learn beside it and are thrown away."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch.nn.functional as F
from torch import Tensor

from beyondprop.core import At
from beyondprop.errors import UserError
from beyondprop.registry import check_fields
from beyondprop.registry.limits import Limits
from beyondprop.rules.local.heads import Head
from beyondprop.shapes import channels_first


class Auxiliary(ABC):
    """Layers between a block and its classifier."""

    name: ClassVar[str]

    def __post_init__(self) -> None:
        check_fields(self)

    @abstractmethod
    def apply(self, at: At, head: Head) -> Tensor:
        """Return what the classifier sees of the block's output."""

    def parameters(self, depth: float) -> Sequence[str]:  # noqa: ARG002
        """Return the names of the parameters at this depth (0 to 1)."""
        return ()


@dataclass(frozen=True)
class AugLocal(Auxiliary):
    """Auxiliary networks whose depth falls linearly towards the output (Ma et al. 2024).

    Early blocks get the deepest, so that what they learn serves more than one layer. The paper
    picks the layers from those that follow in the network; here they are as wide as the block:
    3 x 3 convolutions or linear layers with ReLU, convolutions with batch statistics too.

    Args:
        first: Layers on the first block.
        last: Layers on the last one.
    """

    name: ClassVar[str] = "auglocal"
    first: Annotated[int, Limits(0)] = 3
    last: Annotated[int, Limits(0)] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.last > self.first:
            raise UserError(
                f"AugLocal's depth falls towards the output: {self.first} layers first and "
                f"{self.last} last do not"
            )

    def layers(self, depth: float) -> int:
        """Return how many layers a block at this depth has."""
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


REGISTERED = (AugLocal,)
