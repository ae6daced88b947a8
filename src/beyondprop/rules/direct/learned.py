"""The base class of direct rules whose feedback learns from the outputs of the blocks."""

from abc import abstractmethod
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from beyondprop.core import At, Block, SignalRule, Traits
from beyondprop.errors import UserError
from beyondprop.matching import match
from beyondprop.projections import Dense, Projection
from beyondprop.rules.direct.base import DIRECT

LEARNED = DIRECT.but(
    needs=frozenset({"error", "output"}),
    one_output=True,
    drawn_once=frozenset({"projection"}),
)


@dataclass(frozen=True)
class LearnedDirectFeedback(SignalRule):
    """Direct feedback with learned matrices, one per block, which are initialised as in DFA.

    A matrix is as wide as its block's output, so it is created in the first taught forward pass, as
    ``feedback`` in the block's state.

    Args:
        projection: Draws the initial matrices.
    """

    traits: ClassVar[Traits] = LEARNED
    projection: Projection = field(default_factory=partial(Dense, shared=True))

    @abstractmethod
    def make(self, at: At, features: int, width: int) -> Tensor:
        """Return the block's matrix, ``(features, width)``, created if there was none."""

    @abstractmethod
    def carried(self, at: At, error: Tensor, output: Tensor) -> Tensor:
        """Return the signal for a block, and let its matrix learn.

        Args:
            at: The end of the block, whose state holds the matrix.
            error: The output error, ``(rows, features)``.
            output: The block's output, ``(rows, width)``.

        Returns:
            The signal, ``(rows, width)``.
        """

    def begun(self, at: At, features: int, width: int, like: Tensor) -> Tensor:
        """Return the block's initial matrix."""
        stream = self.projection.stream(at.block.stream)
        return self.projection.matrix(features, width, stream, like)

    def prepare(self, at: At, errors: torch.Size) -> None:
        """Create the block's matrix if this is the first pass."""
        found = match(errors, at.run.axes, at.shape, at.block.axes)
        features, width = found.width, found.features
        matrix = self.make(at, features, width)
        if matrix.shape != (features, width):
            raise UserError(
                f"{type(self).__name__} has one matrix per block, from {matrix.shape[0]} errors to "
                f"{matrix.shape[1]} outputs, and cannot teach an output of {width} by {features}: "
                "blocks must return tensors of the same size in every pass"
            )

    def signal(self, at: At) -> Tensor:
        """Return the product of the error and the block's matrix."""
        (error,) = at.run.errors
        output = at.output
        assert output is not None
        if error is None:
            return torch.zeros_like(output)
        dtype, axes = at.state["feedback"].dtype, at.block.axes
        if error.dim() == output.dim() == 2 and axes.plain and at.run.axes.plain:
            return self.carried(at, in_dtype(error, dtype), in_dtype(output, dtype))
        found = match(error.shape, at.run.axes, at.shape, axes)
        errors = found.for_rows(error, at.run.samples)
        carried = self.carried(at, in_dtype(errors, dtype), in_dtype(found.rows_of(output), dtype))
        return found.shaped(carried)


def in_dtype(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a tensor in a dtype; the check avoids a call, which would slow down small networks."""
    return tensor if tensor.dtype == dtype else tensor.to(dtype)


def like_of(block: Block, other: Tensor) -> Tensor:
    """Return a trainable parameter of a block, for its dtype and device; ``other`` if none."""
    return next((p.detach() for _, p in block.parameters() if p.requires_grad), other)
