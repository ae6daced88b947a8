"""The linear layer with a modified backward pass."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beyondprop._torch.tracing import no_second_derivative
from beyondprop.core import AtWeight
from beyondprop.layers.feedback import AtWeights, autocast, feedback, mark, needed_for, taught


class LinearFeedback(torch.autograd.Function):
    """``x Wᵀ + b``, which propagates errors through another matrix than ``W``."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        matrix: Tensor | None,
        at: AtWeight | None = None,
    ) -> Tensor:
        """Compute the layer; x is ``(..., in)``, weight and matrix are ``(out, in)``.

        The matrix may be None if x needs no gradient, or if the rule computes it from the weight in
        the backward pass (``at``). A learned matrix gets the gradient of the weight (Akrout et al.
        2019, equations 16 and 17).
        """
        ctx.save_for_backward(x, matrix if at is None else weight, mark(bias, x))
        ctx.at = at
        return F.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *errors: Tensor) -> Any:
        """Return the error at the input by the feedback matrix, and exact weight gradients."""
        if torch.is_grad_enabled() and not torch.compiler.is_dynamo_compiling():
            raise no_second_derivative()
        (error,) = errors
        x, matrix, _ = ctx.saved_tensors
        needs_x, needs_weight, needs_bias, learns, _ = ctx.needs_input_grad
        if needs_x and ctx.at is not None:
            matrix = feedback(matrix, ctx.at)
        rows = error if error.dim() == 2 else error.reshape(-1, error.shape[-1])
        taught = needs_weight or learns
        gradient = (
            rows.t() @ (x if x.dim() == 2 else x.reshape(-1, x.shape[-1])) if taught else None
        )
        return (
            error @ matrix if needs_x else None,
            gradient if needs_weight else None,
            rows.sum(0) if needs_bias else None,
            gradient if learns else None,
            None,
        )


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, at: AtWeight) -> Tensor:
    """Compute ``x Wᵀ + b`` under `torch.autocast`, with a backward pass by the rule."""
    x, weight, bias = autocast(x, weight, bias)
    if at.rule.of_weight_alone:
        return LinearFeedback.apply(x, weight, bias, None, at)  # type: ignore[no-any-return]
    matrix = feedback(weight, at) if needed_for(x, at) else None
    return LinearFeedback.apply(x, weight, bias, matrix, None)  # type: ignore[no-any-return]


class Product:
    """A product that a layer computes several times in a pass, with one matrix from the rule."""

    def __init__(self, weight: Tensor, bias: Tensor | None, at: AtWeight) -> None:
        self.weight, self.bias = autocast(weight, bias)
        self.matrix = feedback(self.weight, at)

    def __call__(self, x: Tensor) -> Tensor:
        """Return ``x Wᵀ + b``."""
        (x,) = autocast(x)
        return LinearFeedback.apply(x, self.weight, self.bias, self.matrix, None)  # type: ignore[no-any-return]


class FeedbackLinear(nn.Linear):
    """A linear layer under a `LayerRule`; made by swapping the class of a plain one."""

    _feedback: AtWeights

    @staticmethod
    def inputs_of(layer: nn.Linear) -> dict[str, int]:
        """Return the number of inputs that an output sums over, by weight."""
        return {"weight": layer.in_features}

    def forward(self, input: Tensor) -> Tensor:
        """Return the layer's output; in the backward pass the rule's matrix replaces the weight."""
        if not taught(self, input):
            return super().forward(input)
        return linear(input, self.weight, self.bias, self._feedback["weight"])
