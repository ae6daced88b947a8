"""The linear layer with a backward of its own."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .feedback import Feedback, autocast


class LinearFeedback(torch.autograd.Function):
    """``x Wᵀ + b`` whose error product uses another matrix than ``W``."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, feedback: Tensor | None
    ) -> Tensor:
        """Compute the layer; x is ``(..., in)``, weight and feedback are ``(out, in)``.

        The feedback may be None where x needs no gradient.
        """
        ctx.save_for_backward(x, feedback)
        return F.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *errors: Tensor) -> Any:
        """Return the error behind the layer by the feedback matrix, and exact weight gradients."""
        (error,) = errors
        x, feedback = ctx.saved_tensors
        needs_x, needs_weight, needs_bias, _ = ctx.needs_input_grad
        rows = error.reshape(-1, error.shape[-1])
        return (
            error @ feedback if needs_x else None,
            rows.t() @ x.reshape(-1, x.shape[-1]) if needs_weight else None,
            rows.sum(0) if needs_bias else None,
            None,
        )


class FeedbackLinear(nn.Linear):
    """A linear layer under an operation rule; made by swapping the class of a plain one."""

    _feedback: Feedback

    def forward(self, input: Tensor) -> Tensor:
        """Compute the layer as ever; the backward pass goes by the rule."""
        if not self._feedback.needed:
            return super().forward(input)
        x, weight, bias = autocast(input, self.weight, self.bias)
        assert x is not None
        assert weight is not None
        feedback = self._feedback.of(weight) if x.requires_grad else None
        return LinearFeedback.apply(x, weight, bias, feedback)  # type: ignore[no-any-return]
