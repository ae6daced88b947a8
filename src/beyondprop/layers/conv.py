"""Convolutions with a modified backward pass."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beyondprop._torch.tracing import no_second_derivative
from beyondprop.core import AtWeight
from beyondprop.layers.feedback import AtWeights, autocast, feedback, mark, needed_for, taught


class ConvFeedback(torch.autograd.Function):
    """A convolution that propagates errors through another kernel than its weight."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        feedback: Tensor,
        layout: tuple[Any, ...],
    ) -> Tensor:
        """Compute the layer; layout is the arguments of `torch.convolution` from stride to
        groups."""
        ctx.save_for_backward(x, feedback, mark(bias, x))
        ctx.layout = layout
        return torch.convolution(x, weight, bias, *layout)

    @staticmethod
    def backward(ctx: Any, *errors: Tensor) -> Any:
        """Return the error at the input by the feedback kernel, and exact weight gradients."""
        if torch.is_grad_enabled() and not torch.compiler.is_dynamo_compiling():
            raise no_second_derivative()
        (error,) = errors
        x, feedback, _ = ctx.saved_tensors
        needs_x, needs_weight, needs_bias, learns, _ = ctx.needs_input_grad
        mask = [needs_x, needs_weight or learns, needs_bias]
        # The weight gradient depends only on the kernel's shape, which the feedback has too.
        behind, gradient, bias = torch.ops.aten.convolution_backward(
            error, x, feedback, [error.shape[1]], *ctx.layout, mask
        )
        own = gradient if needs_weight else None
        return behind, own, bias, gradient if learns else None, None


def padding_per_side(conv: nn.Conv1d | nn.Conv2d | nn.Conv3d) -> list[tuple[int, int]]:
    """Return the padding before and after each spatial dimension."""
    if conv.padding == "valid":
        return [(0, 0) for _ in conv.kernel_size]
    if conv.padding == "same":
        totals = [d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
        return [(total // 2, total - total // 2) for total in totals]
    return [(int(p), int(p)) for p in conv.padding]


def convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None, at: AtWeight, layout: tuple[Any, ...]
) -> Tensor:
    """Compute a convolution under `torch.autocast`, with a backward pass by the rule."""
    x, weight, bias = autocast(x, weight, bias)
    kernel = feedback(weight, at) if needed_for(x, at) else weight.detach()
    return ConvFeedback.apply(x, weight, bias, kernel, layout)  # type: ignore[no-any-return]


class _FeedbackConv:
    """The forward pass that the convolution classes below share."""

    _feedback: AtWeights

    @staticmethod
    def inputs_of(layer: Any) -> dict[str, int]:
        """Return the number of inputs that an output sums over, by weight."""
        return {"weight": layer.in_channels // layer.groups * math.prod(layer.kernel_size)}

    def forward(self: Any, input: Tensor) -> Tensor:
        """Return the layer's output; in the backward pass the rule's matrix replaces the weight."""
        if not taught(self, input):
            return super().forward(input)  # type: ignore[misc, no-any-return]
        weight = self.weight  # read once: spectral norm takes a step at each access
        batched = input if input.dim() == weight.dim() else input.unsqueeze(0)
        padded, padding = self._padded(batched)
        layout = (self.stride, padding, self.dilation, False, [0] * len(padding), self.groups)
        feedback = self._feedback["weight"]
        output = convolution(padded, weight, self.bias, feedback, layout)
        return output if batched is input else output.squeeze(0)

    def _padded(self: Any, x: Tensor) -> tuple[Tensor, Sequence[int]]:
        """Return the padded input and the remaining padding, which is symmetric and of zeros."""
        sides = padding_per_side(self)
        if self.padding_mode == "zeros" and all(before == after for before, after in sides):
            return x, [before for before, _ in sides]
        flat = [p for side in reversed(sides) for p in side]
        mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
        return F.pad(x, flat, mode=mode), [0] * len(sides)


def kernel_gradients(conv: Any, x: Tensor, error: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of a convolution's weight and bias for an error at its output.

    Args:
        conv: The layer, `nn.Conv1d`, `nn.Conv2d` or `nn.Conv3d`.
        x: Its input, ``(batch, channels, ...)``.
        error: ``(batch, out_channels, ...)``.
    """
    padded, padding = _FeedbackConv._padded(conv, x)
    layout = (conv.stride, padding, conv.dilation, False, [0] * len(padding), conv.groups)
    _, weight, bias = torch.ops.aten.convolution_backward(
        error, padded, conv.weight.to(error.dtype), [error.shape[1]], *layout, [False, True, True]
    )
    return weight, bias


class FeedbackConv1d(_FeedbackConv, nn.Conv1d):
    """A 1-d convolution under a `LayerRule`; made by swapping the class of a plain one."""


class FeedbackConv2d(_FeedbackConv, nn.Conv2d):
    """A 2-d convolution under a `LayerRule`; made by swapping the class of a plain one."""


class FeedbackConv3d(_FeedbackConv, nn.Conv3d):
    """A 3-d convolution under a `LayerRule`; made by swapping the class of a plain one."""
