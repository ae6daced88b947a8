"""What direct rules have in common whose feedback learns from the outputs of the blocks."""

from abc import abstractmethod
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from beyondprop.core import At, Block, SignalRule, Traits
from beyondprop.errors import UserError
from beyondprop.projections import Dense, Projection
from beyondprop.rules.direct.base import DIRECT
from beyondprop.shapes import rows_and_features

LEARNED = DIRECT.but(
    needs=frozenset({"error", "output"}),
    one_output=True,
    drawn_once=frozenset({"projection"}),
)


@dataclass(frozen=True)
class LearnedDirectFeedback(SignalRule):
    """Direct feedback whose matrices learn: they begin as those of DFA, one a block.

    A matrix is as wide as its block's output, so it is made in the first taught forward pass, as
    ``feedback`` in the block's state.

    Args:
        projection: Draws what the matrices begin with.
    """

    traits: ClassVar[Traits] = LEARNED
    projection: Projection = field(default_factory=partial(Dense, shared=True))

    @abstractmethod
    def make(self, at: At, features: int, width: int) -> Tensor:
        """Return the block's matrix, ``(features, width)``, made if there was none."""

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
        """Return what the block's matrix begins with."""
        stream = self.projection.stream(at.block.stream)
        return self.projection.matrix(features, width, stream, like)

    def prepare(self, at: At, errors: torch.Size) -> None:
        """Make the block's matrix if this is the first pass."""
        _, features, width = rows_and_features(errors, at.run.axes, at.shape, at.block.axes)
        matrix = self.make(at, features, width)
        if matrix.shape != (features, width):
            raise UserError(
                f"{type(self).__name__} keeps one matrix a block, from {matrix.shape[0]} errors to "
                f"{matrix.shape[1]} outputs, and cannot teach an output of {width} by {features}: "
                "blocks must return tensors of one size, also from pass to pass"
            )

    def signal(self, at: At) -> Tensor:
        """Return the error carried to the block's output by its matrix."""
        (error,) = at.run.errors
        output = at.output
        assert output is not None
        if error is None:
            return torch.zeros_like(output)
        rows, features, width = rows_and_features(error.shape, at.run.axes, at.shape, at.block.axes)
        dtype = at.state["feedback"].dtype
        error = as_matrix(error, rows, features, dtype)
        carried = self.carried(at, error, as_matrix(output, rows, width, dtype))
        return carried if carried.shape == at.shape else carried.view(at.shape)


def as_matrix(tensor: Tensor, rows: int, columns: int, dtype: torch.dtype) -> Tensor:
    """Return a tensor as a matrix, without a call (which small nets feel) where it is one."""
    if tensor.shape != (rows, columns):
        tensor = tensor.reshape(rows, columns)
    return tensor if tensor.dtype == dtype else tensor.to(dtype)


def like_of(block: Block, other: Tensor) -> Tensor:
    """Return a tensor of the dtype and device of what a block learns, or another one."""
    return next((p.detach() for _, p in block.parameters() if p.requires_grad), other)
