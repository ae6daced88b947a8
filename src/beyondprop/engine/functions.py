"""The autograd functions by which signals enter the graph."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from beyondprop.core import ForwardPass, ModelGradients


class Signal(torch.autograd.Function):
    """The end of a large block's graph: its backward asks for the signal.

    The engine of autograd runs nodes latest first: it makes block k's signal, goes back through
    block k, frees both, and only then turns to block k - 1, so no two signals are alive at once.
    """

    @staticmethod
    def forward(ctx: Any, root: Tensor, end: Any, *learned: Tensor) -> Tensor:
        """Return a token, a scalar that is never read."""
        _keep(ctx, end, learned)
        return root.new_empty(())

    @staticmethod
    def backward(ctx: Any, *_: None) -> Any:
        """Return the signal, and the gradients of what the rule learns."""
        return _signal(ctx)


class Exchange(torch.autograd.Function):
    """The end of a block that hears what the next block sends back.

    The graph goes on, but the gradient that arrives from the next block is replaced by the rule's
    signal. `At.sent_back` is the next block's message where its rule left one, else that gradient.
    """

    @staticmethod
    def forward(ctx: Any, output: Tensor, end: Any, *learned: Tensor) -> Tensor:
        """Return the output as it is."""
        _keep(ctx, end, learned)
        return output.view_as(output)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> Any:
        """Return the signal, and the gradients of what the rule learns."""
        at = ctx.end.at
        sent = at.run.shared.pop(Exchange, None)
        at.sent_back, at.message = gradients[0] if sent is None else sent, None
        found = _signal(ctx)
        if at.message is not None:
            at.run.shared[Exchange] = at.message
        at.sent_back = at.message = None
        return found


class Output(torch.autograd.Function):
    """The model's outputs: the exact error goes on into the last block and to the forward pass."""

    @staticmethod
    def forward(
        ctx: Any, run: ForwardPass, ends: Sequence[Any], count: int, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        """Return the first ``count`` tensors, the outputs; the others tie the ends to them."""
        ctx.run, ctx.ends = run, ends
        ctx.set_materialize_grads(False)
        return tuple([output.detach() for output in tensors[:count]])

    @staticmethod
    def backward(ctx: Any, *errors: Tensor | None) -> Any:
        """Keep the errors where rules find them, and return the gradients of the small ends."""
        ctx.run.errors = errors
        found: dict[Any, Tensor] = {}  # small blocks with one signal share it
        gradients: list[Tensor | None] = [None] * len(ctx.ends)
        for i in range(len(ctx.ends) - 1, -1, -1):
            end = ctx.ends[i]
            if end is not None:
                key = end.key()
                gradient = found.get(key)
                if gradient is None:
                    gradient = found[key] = end.gradient()
                gradients[i] = gradient
        return None, None, None, *errors, *gradients


class ModelOutput(torch.autograd.Function):
    """The outputs of a model that ran without a graph: its rule gives all gradients at once."""

    @staticmethod
    def forward(
        ctx: Any, run: ForwardPass, result: ModelGradients, count: int, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        """Return the first ``count`` tensors, the outputs; the others are kept for the rule."""
        ctx.run, ctx.result, ctx.count = run, result, count
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors[count:])
        return tuple(output.detach() for output in tensors[:count])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *errors: Tensor | None) -> Any:
        """Return the gradients of the tensors that were kept."""
        ctx.run.errors = errors
        needed = ctx.needs_input_grad[3 + ctx.count :]
        found = ctx.result.gradients(errors, ctx.saved_tensors, needed)
        return None, None, None, *[None] * ctx.count, *found


def _keep(ctx: Any, end: Any, learned: Sequence[Tensor]) -> None:
    """Keep in the node what the rule needs, so that it is freed as the graph is."""
    ctx.end = end
    ctx.set_materialize_grads(False)
    at = end.at
    if end.reads_output:
        ctx.save_for_backward(at.input, at.output, *learned)
        at.input = at.output = None


def _signal(ctx: Any) -> tuple[Tensor | None, ...]:
    end = ctx.end
    if not end.reads_output:
        return end.gradient(), None
    at = end.at
    at.input, at.output, *_ = ctx.saved_tensors
    at.gradients.clear()
    try:
        return end.gradient(), None, *end.learned_gradients()
    finally:
        at.input = at.output = None
        at.gradients.clear()
