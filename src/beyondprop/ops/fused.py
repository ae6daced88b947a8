"""The arithmetic of a fused chain: forward, and the taught backward of all its layers."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..teach import Lesson, Teacher

aten = torch.ops.aten
ACTIVATIONS: dict[type[nn.Module], tuple[Callable[[Tensor], Tensor], Callable[..., Tensor]]] = {
    nn.Identity: (lambda x: x, lambda signal, _: signal),
    nn.ReLU: (
        torch.relu_,
        lambda signal, output: aten.threshold_backward.default(signal, output, 0),
    ),
    nn.Tanh: (torch.tanh_, aten.tanh_backward.default),
    nn.Sigmoid: (torch.sigmoid_, aten.sigmoid_backward.default),
}
"""In place forward, and backward from the output alone."""


@dataclass(frozen=True, eq=False)
class Run:
    """Hidden layers in a row that have one width, one activation and one teacher.

    Without a teacher they are frozen.
    """

    linears: tuple[nn.Linear, ...]
    activation: type[nn.Module]
    teacher: Teacher | None
    streams: tuple[int, ...]

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

    def gradients(self, lesson: Lesson, x: Tensor, outputs: Tensor) -> Sequence[Tensor | None]:
        """Return weight, bias, weight, … gradients and at the end the signal at the first layer."""
        if self.teacher is None:
            return [None] * (2 * len(self.linears) + 1)
        signals = self.teacher.signals(lesson, outputs.shape[2], self.streams)
        deltas = ACTIVATIONS[self.activation][1](signals.view(outputs.shape), outputs)
        first = deltas.select(1, 0)
        weights = [first.t().mm(x)]
        if len(self.linears) > 1:
            # One product for all layers but the first, whose input may have another width.
            later = deltas.narrow(1, 1, len(self.linears) - 1).permute(1, 2, 0)
            inputs = outputs.narrow(1, 0, len(self.linears) - 1).transpose(0, 1)
            weights += later.bmm(inputs).unbind(0)
        biases = deltas.sum(0).unbind(0)
        return [g for pair in zip(weights, biases, strict=True) for g in pair] + [first]


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
        ctx.save_for_backward(x, parameters[0], *saved)
        ctx.lesson, ctx.runs = lesson, runs
        return nn.functional.linear(inner, weight, bias)

    @staticmethod
    def backward(ctx: Any, *errors: Tensor) -> Any:
        """Return the gradients of the parameters, and of x where it is asked for."""
        ctx.lesson.begin(errors)
        inner, first_weight, *saved = ctx.saved_tensors
        gradients: list[Tensor | None] = []
        signals = []
        for run, outputs in zip(ctx.runs, saved, strict=True):
            *found, signal = run.gradients(ctx.lesson, inner, outputs)
            gradients += found
            signals.append(signal)
            inner = outputs.select(1, -1)
        gradients += errors[0].t().mm(inner), errors[0].sum(0)
        needs_x, _, _, *needs = ctx.needs_input_grad
        wanted = [g if needed else None for g, needed in zip(gradients, needs, strict=True)]
        x_gradient = signals[0].mm(first_weight) if needs_x and signals[0] is not None else None
        return x_gradient, None, None, *wanted
