"""A chain of linear layers as one operation, for networks so small that overhead decides.

At width 64 and batch 32 the matrix products are the smaller part of a step; most of it is the
bookkeeping of autograd and of module calls. Here the whole chain is one node of the graph, and as
no layer waits for another's error, the backward pass takes all layers of one width at once. The
signals are the rule's, as at any tap: no rule is implemented twice.

What it costs: all activations are kept until the backward pass ends, where autograd would free them
block by block; so it serves small ones only.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..teach import Cut, Lesson

aten = torch.ops.aten
ACTIVATIONS: dict[type[nn.Module], tuple[Callable[[Tensor], Tensor], Callable[..., Tensor]]] = {
    nn.ReLU: (torch.relu_, lambda signal, out: aten.threshold_backward.default(signal, out, 0)),
    nn.Tanh: (torch.tanh_, aten.tanh_backward.default),
    nn.Sigmoid: (torch.sigmoid_, aten.sigmoid_backward.default),
}
"""In place forward, and backward from the output alone."""


@dataclass(frozen=True, eq=False)
class Run:
    """Hidden layers in a row that have one width and activation, and one signal for all.

    Attributes:
        linears: The linear layers.
        activation: Class of the activation behind each.
        cut: What teaches their outputs.
    """

    linears: Sequence[nn.Linear]
    activation: type[nn.Module]
    cut: Cut

    def forward(
        self, x: Tensor, parameters: Iterator[tuple[Tensor, Tensor | None]]
    ) -> tuple[Tensor, Tensor]:
        """Return the activations of all layers, ``(batch, layers, width)``, and the last ones."""
        outputs = x.new_empty(x.shape[0], len(self.linears), self.linears[0].out_features)
        activate = ACTIVATIONS[self.activation][0]
        for output, (weight, bias) in zip(outputs.unbind(1), parameters, strict=False):
            if bias is None:
                torch.mm(x, weight.t(), out=output)
            else:
                torch.addmm(bias, x, weight.t(), out=output)
            x = activate(output)
        return outputs, x

    def gradients(self, lesson: Lesson, x: Tensor, outputs: Tensor) -> list[Tensor | None]:
        """Return weight, bias, weight, … gradients and at the end the delta of the first layer."""
        batch, layers, width = outputs.shape
        if self.cut.teacher is None:
            return [None] * (2 * layers + 1)
        like = torch.Size((batch, width)), outputs.dtype, outputs.device
        signal = self.cut.signal(lesson, like).unsqueeze(1).expand_as(outputs)
        deltas = ACTIVATIONS[self.activation][1](signal, outputs)
        first = deltas.select(1, 0)
        weights = [first.t().mm(x)]
        if layers > 1:  # one product for all others; the first one's input may be of another width
            later = deltas.narrow(1, 1, layers - 1).permute(1, 2, 0)
            weights += later.bmm(outputs.narrow(1, 0, layers - 1).transpose(0, 1)).unbind(0)
        found: list[Tensor | None] = []
        for pair in zip(weights, deltas.sum(0).unbind(0), strict=True):
            found += pair
        return [*found, first]


class FusedChain(torch.autograd.Function):
    """The forward and the taught backward pass of all the layers."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, lesson: Lesson, runs: Sequence[Run], *parameters: Tensor | None
    ) -> Tensor:
        """Compute ``(batch, in) → (batch, out)``; parameters are weight, bias, weight, bias, …"""
        saved = []
        remaining: Any = iter(zip(parameters[::2], parameters[1::2], strict=True))
        inner = x
        for run in runs:
            outputs, inner = run.forward(inner, remaining)
            saved.append(outputs)
        ((weight, bias),) = remaining
        first = parameters[0] if ctx.needs_input_grad[0] else None
        ctx.save_for_backward(x, first, *saved)
        ctx.lesson, ctx.runs = lesson, runs
        return nn.functional.linear(inner, weight, bias)

    @staticmethod
    def backward(ctx: Any, *errors: Tensor) -> Any:
        """Return the gradients of the parameters, and of x where it is asked for."""
        ctx.lesson.begin(errors)
        inner, first_weight, *saved = ctx.saved_tensors
        gradients: list[Tensor | None] = []
        deltas = []
        for run, outputs in zip(ctx.runs, saved, strict=True):
            *found, delta = run.gradients(ctx.lesson, inner, outputs)
            gradients += found
            deltas.append(delta)
            inner = outputs.select(1, -1)
        gradients += errors[0].t().mm(inner), errors[0].sum(0)
        needs_x, _, _, *needs = ctx.needs_input_grad
        wanted = [g if needed else None for g, needed in zip(gradients, needs, strict=True)]
        x_gradient = deltas[0].mm(first_weight) if needs_x and deltas[0] is not None else None
        return x_gradient, None, None, *wanted
