"""Direct rules whose feedback learns from the outputs of the blocks that it teaches."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from beyondprop.engine.detach import Cut, Lesson
from beyondprop.errors import UserError
from beyondprop.rules.direct.direct_feedback_alignment import DirectFeedbackAlignment
from beyondprop.shapes import rows_and_features

if TYPE_CHECKING:
    from beyondprop.engine.attachment import Attachment
    from beyondprop.engine.blocks import Block


@dataclass(frozen=True)
class ReadingRule(DirectFeedbackAlignment):
    """Direct feedback alignment whose matrices learn: they begin as DFA's, one a block.

    A matrix is as wide as its block's output, so it is made in the first taught forward pass.
    """

    one_output: ClassVar[bool] = True

    @abstractmethod
    def signal_from(
        self, lesson: Lesson, cut: Cut, error: Tensor, output: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Return the signal for a block, and the gradient of its matrix if it learns by one.

        Args:
            lesson: The pass.
            cut: The block's cut, whose state holds the matrix, ``(features, width)``.
            error: The output error, ``(rows, features)``.
            output: The block's output, ``(rows, width)``.

        Returns:
            The signal, shaped like the output, and the gradient, shaped like the matrix.
        """

    def install(self, block: "Block", attachment: "Attachment") -> str:
        """Tap the block's output, and read it."""
        beside = [p for _, p in block.parameters() if p.requires_grad]
        like = beside[0].detach() if beside else torch.empty(0)
        attachment.cut(block, Cut(self, block.stream, self, self.start(like), beside))
        return "output tapped and cut: the signal comes by a matrix that learns from the output"

    @abstractmethod
    def start(self, like: Tensor) -> dict[str, Tensor]:
        """Return what to keep for a block; its ``feedback`` is filled in by `open`."""

    def open(self, cut: Cut, features: int, width: int, output: Tensor) -> Tensor | None:
        """Make the block's matrix if this is the first pass; return it if it is a parameter."""
        matrix = self.made(cut, features, width, output)
        if matrix.shape != (features, width):
            raise UserError(
                f"{type(self).__name__} keeps one matrix a block, from {matrix.shape[0]} errors to "
                f"{matrix.shape[1]} outputs, and cannot teach an output of {width} by {features}: "
                "blocks must return tensors of one size, also from pass to pass"
            )
        return matrix if matrix.requires_grad else None

    @abstractmethod
    def made(self, cut: Cut, features: int, width: int, output: Tensor) -> Tensor:
        """Return the block's matrix, made if there was none."""

    def read(self, lesson: Lesson, cut: Cut, output: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the signal, shaped like the output, and the gradient of the matrix."""
        (error,) = lesson.messages(self)
        if error is None:
            return torch.zeros_like(output), None
        rows, features, width = rows_and_features(error.shape, output.shape)
        dtype = cut.state["feedback"].dtype
        signal, gradient = self.signal_from(
            lesson,
            cut,
            error.reshape(rows, features).to(dtype),
            output.reshape(rows, width).to(dtype),
        )
        return signal.view(output.shape).to(output.dtype), gradient
