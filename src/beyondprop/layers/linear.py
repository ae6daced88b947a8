"""The linear layer with a backward of its own."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beyondprop.layers.feedback import (
    Feedback,
    Feedbacks,
    autocast,
    needed,
)


class LinearFeedback(torch.autograd.Function):
    """``x Wᵀ + b`` whose error product uses another matrix than ``W``."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        feedback: Tensor | None,
        late: Feedback | None = None,
    ) -> Tensor:
        """Compute the layer; x is ``(..., in)``, weight and feedback are ``(out, in)``.

        The feedback may be None where x needs no gradient, or where ``late`` makes it of the weight
        in the backward pass; where it is learned it gets the gradient that the weight gets (Akrout
        et al. 2019, equations 16 and 17).
        """
        ctx.save_for_backward(x, feedback if late is None else weight)
        ctx.late = late
        return F.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *errors: Tensor) -> Any:
        """Return the error behind the layer by the feedback matrix, and exact weight gradients."""
        (error,) = errors
        x, feedback = ctx.saved_tensors
        needs_x, needs_weight, needs_bias, learns, _ = ctx.needs_input_grad
        if needs_x and ctx.late is not None:
            feedback = ctx.late.of(feedback)
        rows = error if error.dim() == 2 else error.reshape(-1, error.shape[-1])
        taught = needs_weight or learns
        gradient = (
            rows.t() @ (x if x.dim() == 2 else x.reshape(-1, x.shape[-1])) if taught else None
        )
        return (
            error @ feedback if needs_x else None,
            gradient if needs_weight else None,
            rows.sum(0) if needs_bias else None,
            gradient if learns else None,
            None,
        )


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, feedback: Feedback) -> Tensor:
    """Compute ``x Wᵀ + b``, cast as `torch.autocast` asks, with a backward pass by the rule."""
    x, weight, bias = autocast(x, weight, bias)
    late = feedback if feedback.rule.late else None
    matrix = feedback.of(weight) if late is None and feedback.needed_for(x) else None
    return LinearFeedback.apply(x, weight, bias, matrix, late)  # type: ignore[no-any-return]


class FeedbackLinear(nn.Linear):
    """A linear layer under an operation rule; made by swapping the class of a plain one."""

    _feedback: Feedbacks

    @staticmethod
    def inputs_of(layer: nn.Linear) -> dict[str, int]:
        """Return for each weight how many inputs an output sums over."""
        return {"weight": layer.in_features}

    def forward(self, input: Tensor) -> Tensor:
        """Compute the layer as ever; the backward pass goes by the rule."""
        if not needed(self):
            return super().forward(input)
        return linear(input, self.weight, self.bias, self._feedback["weight"])
