"""A chain of linear layers as one operation, for networks whose time is mostly overhead.

At width 64 and batch 32 the matrix products are the smaller part of a step; most of it is the
overhead of autograd and of module calls. Here the complete chain is one node of the graph, which
makes the minimum number of PyTorch calls per layer: a linear map and an in-place activation in the
forward pass, and a derivative, a product and a sum in the backward pass. The rule computes the
signals, as at any end of a block, so no rule is implemented twice.

All activations are kept until the backward pass ends, while autograd would free them block by
block. Therefore only small chains are fused.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from beyondprop._torch.tracing import no_second_derivative
from beyondprop.core import At, ForwardPass
from beyondprop.engine.detach import BySignal, SignalEnd
from beyondprop.engine.scale import ScaleWatch

aten = torch.ops.aten
ACTIVATIONS: dict[type[nn.Module], tuple[Callable[[Tensor], Tensor], Callable[..., Tensor]]] = {
    nn.ReLU: (torch.relu_, lambda signal, out: aten.threshold_backward.default(signal, out, 0)),
    nn.Tanh: (torch.tanh_, aten.tanh_backward.default),
    nn.Sigmoid: (torch.sigmoid_, aten.sigmoid_backward.default),
}
"""The in-place forward function, and the backward function, which needs only the output."""


@dataclass(frozen=True, eq=False)
class Hidden:
    """A hidden linear layer with its activation.

    Attributes:
        activation: Class of the activation.
        taught: The end that gives the activation's output a signal; None if it gets none.
        repeats: Whether its signal is that of the previous layer.
    """

    activation: type[nn.Module]
    taught: BySignal | None
    repeats: bool


def hidden_states(
    x: Tensor, hidden: Sequence[Hidden], parameters: Sequence[Tensor | None]
) -> list[Tensor]:
    """Return the input ``(batch, in)`` and the output of each hidden layer."""
    pairs: Any = iter(parameters)
    states = [x]
    for layer, weight, bias in zip(hidden, pairs, pairs, strict=False):
        x = ACTIVATIONS[layer.activation][0](linear(x, weight, bias))
        states.append(x)
    return states


class FusedChain(torch.autograd.Function):
    """The forward pass and the taught backward pass of all layers."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        run: ForwardPass,
        hidden: Sequence[Hidden],
        watch: ScaleWatch | None,
        *parameters: Tensor | None,
    ) -> Tensor:
        """Compute ``(batch, in) → (batch, out)``; parameters are weight, bias, weight, bias, …"""
        states = hidden_states(x, hidden, parameters)
        weight, bias = parameters[-2:]
        first = parameters[0] if ctx.needs_input_grad[0] else None
        ctx.save_for_backward(first, *states)
        ctx.run, ctx.hidden, ctx.watch, ctx.takes_scale = run, hidden, watch, True
        ctx.leads_on = ctx.needs_input_grad[0]
        return linear(states[-1], weight, bias)  # type: ignore[arg-type]

    @staticmethod
    def backward(ctx: Any, *errors: Tensor) -> Any:
        """Return the gradients of the parameters, and of x if it needs one."""
        if torch.is_grad_enabled() and not torch.compiler.is_dynamo_compiling():
            raise no_second_derivative()
        ctx.run.errors = errors
        if ctx.watch is not None:
            ctx.watch.hear(ctx)
        first, *states = ctx.saved_tensors
        needs = ctx.needs_input_grad[4:]
        wanted = [w or b for w, b in zip(needs[::2], needs[1::2], strict=True)]
        wanted[0] = wanted[0] or first is not None
        found = list(deltas(ctx.run, ctx.hidden, states, wanted))
        x_gradient = found[0].mm(first) if first is not None and found[0] is not None else None
        gradients: list[Tensor | None] = []
        for delta, before, weight, bias in zip(
            [*found, errors[0]], states, needs[::2], needs[1::2], strict=True
        ):
            gradients += (
                delta.t().mm(before) if weight and delta is not None else None,
                delta.sum(0) if bias and delta is not None else None,
            )
        return x_gradient, None, None, None, *gradients


def deltas(
    run: ForwardPass, hidden: Sequence[Hidden], states: Sequence[Tensor], wanted: Sequence[bool]
) -> Iterator[Tensor | None]:
    """Yield the error at each hidden layer's linear map; None if it is not needed or not taught.

    Args:
        run: The pass, whose errors are known.
        hidden: The hidden layers.
        states: The return value of `hidden_states`.
        wanted: Whether each layer's error is needed.
    """
    signal = None
    for layer, state, needed in zip(hidden, states[1:], wanted, strict=False):
        signal = signal if layer.repeats else None
        if layer.taught is None or not needed:
            yield None
            continue
        if signal is None:
            block, rule = layer.taught.block, layer.taught.rule
            at = At(block, run, layer.taught.state, state.shape, state.dtype, state.device)
            signal = SignalEnd(at, state, rule).gradient()
        yield ACTIVATIONS[layer.activation][1](signal, state)
