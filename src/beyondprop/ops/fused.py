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
        lambda signal, output: aten.threshold_backward(signal, output, 0),
    ),
    nn.Tanh: (torch.tanh_, aten.tanh_backward),
    nn.Sigmoid: (torch.sigmoid_, aten.sigmoid_backward),
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

    @property
    def width(self) -> int:
        """Features of each layer's output."""
        return self.linears[0].out_features

    def forward(self, x: Tensor, parameters: Iterator[Tensor | None]) -> Tensor:
        """Return the activations of all layers side by side, ``(batch, layers × width)``."""
        outputs = x.new_empty(x.shape[0], len(self.linears) * self.width)
        activate = ACTIVATIONS[self.activation][0]
        for output in outputs.split(self.width, 1):
            weight, bias = next(parameters), next(parameters)
            assert weight is not None
            if bias is None:
                torch.mm(x, weight.t(), out=output)
            else:
                torch.addmm(bias, x, weight.t(), out=output)
            x = activate(output)
        return outputs

    def gradients(self, lesson: Lesson, x: Tensor, outputs: Tensor) -> list[Tensor | None]:
        """Return weight, bias, weight, … gradients and at the end the signal at the first layer."""
        if self.teacher is None:
            return [None] * (2 * len(self.linears) + 1)
        signals = self.teacher.signals(lesson, self.width, self.streams)
        delta = ACTIVATIONS[self.activation][1](signals, outputs)
        biases = delta.sum(0).split(self.width)
        first = delta[:, : self.width]
        # One batched product for all layers but the first, whose input is of another width.
        mine, inputs = self._by_layer(delta)[1:], self._by_layer(outputs)[:-1]
        weights = [first.t() @ x, *torch.bmm(mine.transpose(1, 2), inputs).unbind(0)]
        return [g for pair in zip(weights, biases, strict=True) for g in pair] + [first]

    def _by_layer(self, side_by_side: Tensor) -> Tensor:
        """Return ``(batch, layers × width)`` as a view of shape ``(layers, batch, width)``."""
        layered = side_by_side.view(len(side_by_side), -1, self.width)
        return layered.transpose(0, 1)


class FusedChain(torch.autograd.Function):
    """The forward and the taught backward pass of all the layers."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, lesson: Lesson, runs: Sequence[Run], *parameters: Tensor | None
    ) -> Tensor:
        """Compute ``(batch, in) → (batch, out)``; parameters are weight, bias, weight, bias, …"""
        outputs = []
        remaining = iter(parameters)
        inner = x
        for run in runs:
            outputs.append(run.forward(inner, remaining))
            inner = outputs[-1][:, -run.width :]
        weight, bias = remaining
        ctx.save_for_backward(x, parameters[0], *outputs)
        ctx.lesson, ctx.runs = lesson, runs
        return nn.functional.linear(inner, weight, bias)  # type: ignore[arg-type]

    @staticmethod
    def backward(ctx: Any, *errors: Tensor) -> Any:
        """Return the gradients of the parameters, and of x where it is asked for."""
        ctx.lesson.begin(errors)
        inner, first_weight, *outputs = ctx.saved_tensors
        gradients: list[Tensor | None] = []
        first = None
        for i, run in enumerate(ctx.runs):
            *found, signal = run.gradients(ctx.lesson, inner, outputs[i])
            gradients += found
            first = signal if i == 0 else first
            inner = outputs[i][:, -run.width :]
        gradients += errors[0].t() @ inner, errors[0].sum(0)
        needs_x, _, _, *needs = ctx.needs_input_grad
        wanted = [g if needed else None for g, needed in zip(gradients, needs, strict=True)]
        return first @ first_weight if needs_x and first is not None else None, None, None, *wanted
