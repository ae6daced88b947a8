"""The base class of direct rules, which send one message to every block by projections."""

from abc import abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from beyondprop.core import At, Block, ForwardPass, SignalRule, Traits
from beyondprop.matching import match
from beyondprop.projections import BySize, Projection

DIRECT = Traits(frozenset({"error"}), ends_graph=True, exact_at_output=True)


@dataclass(frozen=True)
class DirectRule(SignalRule):
    """A rule that sends one message to every block, each block receiving its own projection.

    The output block, which needs no projection, keeps its exact gradient. By default the blocks
    share one matrix, sliced to their widths, as in the paper on large models (Launay et al. 2020),
    which needs very little memory. If a matrix would cost more time or memory than a structured
    map, the structured map is used (`BySize`).

    Args:
        projection: Carries the message to a block's width.
    """

    traits: ClassVar[Traits] = DIRECT
    projection: Projection = field(default_factory=partial(BySize, shared=True))

    @abstractmethod
    def messages(self, run: ForwardPass) -> Sequence[Tensor | None]:
        """Return the message for each of the model's outputs, of its shape; None for no message."""

    def signal(self, at: At) -> Tensor:
        """Return the signal at a block's output: the messages' projections, summed."""
        stream = self.projection.stream(at.block.stream)
        messages = self.messages(at.run)
        if len(messages) == 1 and messages[0] is not None:
            return project(self.projection, messages[0], at, stream)
        signals = [
            project(self.projection, message, at, stream + i)
            for i, message in enumerate(messages)
            if message is not None
        ]
        return signals[0] if len(signals) == 1 else torch.stack(signals).sum(0)

    def same_signal(self, block: Block) -> Hashable:
        """Return a key shared by blocks with the same matrix."""
        return id(self), self.projection.stream(block.stream)


def project(projection: Projection, message: Tensor, at: At, stream: int) -> Tensor:
    """Return the projection of a message to a block's output.

    Args:
        projection: The projection.
        message: ``(batch, ...)``, shaped like the model's output.
        at: The end of the block.
        stream: The projection's stream.
    """
    shape, axes = at.shape, at.block.axes
    plain = axes.plain and at.run.axes.plain
    if plain and message.dim() == len(shape) == 2 and message.shape[0] == shape[0]:
        return projection.project(message, shape[1], stream)  # (batch, features)
    found = match(message.shape, at.run.axes, shape, axes)
    rows = found.by_row(message, at.run.samples)  # (rows…, width)
    signal = projection.project(rows.reshape(-1, found.width), found.features, stream)
    return found.shaped(signal.view(*rows.shape[:-1], found.features))
