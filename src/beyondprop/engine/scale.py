"""The scale that the caller gave a loss, for signals that do not follow its gradient.

A backward pass cannot infer the scale from the gradient at the model's output. Therefore the loss
passes through a node whose backward reports the scale to the model's passes before any signal is
computed.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from beyondprop._torch.private import scaler_in_use
from beyondprop.core import Block, ForwardPass
from beyondprop.errors import UserError

LARGE = 2.0
"""Largest error times rows above which a loss may be scaled; cross-entropy stays below 1."""

ADVICE = (
    "pass the loss through handle.loss(loss) before you scale it, divide it or call backward(), or "
    "clear the gradients before each backward pass"
)


def told_scale(loss: Tensor, share: Tensor | float = 1.0) -> Tensor:
    """Return the loss, through a node that reports its scale to the passes it depends on.

    Args:
        loss: A scalar, computed from outputs of taught passes.
        share: The loss as a fraction of a mean over samples or tokens.

    Raises:
        UserError: It is not a scalar.
    """
    if loss.numel() != 1:
        raise UserError(f"handle.loss takes a scalar, not a tensor of shape {tuple(loss.shape)}")
    if getattr(loss.grad_fn, "tells_scale", False):  # it passed through a node already
        return loss
    listeners = list(_listeners(loss))
    return TellScale.apply(loss, listeners, share) if listeners else loss


class TellScale(torch.autograd.Function):
    """The unchanged loss; the gradient that arrives in its backward pass is the caller's scale."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, listeners: Sequence[Any], share: Tensor | float) -> Tensor:
        """Return the loss.

        Args:
            ctx: The node.
            loss: A scalar.
            listeners: The nodes at the outputs of the model's passes.
            share: The loss as a fraction of a mean.
        """
        ctx.listeners, ctx.share, ctx.tells_scale = listeners, share, True
        return loss.clone()  # callers may modify it in place: ``loss *= 2``

    @staticmethod
    def backward(ctx: Any, *scales: Tensor) -> Any:
        """Report the scale."""
        scale = scales[0].detach().reshape(()) * ctx.share
        for node in ctx.listeners:
            earlier = getattr(node, "scale", None)
            if earlier is not None and bool(earlier != scale):
                raise UserError(
                    "two losses of one forward pass went through handle.loss and have different "
                    "scales in one backward pass: pass their weighted sum through it once"
                )
            node.scale = scale
        return scales[0], None, None


class ScaleWatch:
    """Records how losses are scaled, for rules whose signals do not scale with them.

    Args:
        parameter: A parameter that such a rule teaches.
    """

    def __init__(self, parameter: Tensor) -> None:
        self.parameter = parameter
        self._searched = False

    def hear(self, node: Any) -> None:
        """Store the scale in the pass of a node at the model's output, for one backward pass.

        Raises:
            UserError: The scale is unknown, and it matters.
        """
        run = node.run
        run.scale, node.scale = getattr(node, "scale", None), None
        if run.scale is not None:
            return
        gradient = self.parameter.grad
        if gradient is not None and bool(gradient.any()):
            raise UserError(
                "a backward pass adds to existing gradients, under a rule whose signals do not "
                f"follow the scale of the loss: {ADVICE}"
            )
        if not self._searched:
            self._searched = True
            if _is_large(run.errors) and scaler_in_use():
                raise UserError(
                    "a GradScaler scales the loss, under a rule whose signals do not follow that: "
                    f"{ADVICE}"
                )


def scale_watch(blocks: Sequence[Block]) -> ScaleWatch | None:
    """Return the watch on the scale of losses; None if all signals scale with them."""
    deaf = [p for b in blocks if not b.rule.traits.scales_with_loss for _, p in b.parameters()]
    # A frozen one may learn later.
    parameter = next((p for p in deaf if p.requires_grad), deaf[0] if deaf else None)
    return None if parameter is None else ScaleWatch(parameter)


def before_scale(gradient: Tensor, scale: Tensor) -> Tensor:
    """Return a gradient without the scale of the loss; zeros if the scale is 0."""
    return gradient / torch.where(scale == 0, 1, scale).to(gradient)


@contextmanager
def unscaled(run: ForwardPass) -> Iterator[None]:
    """Show rules the errors without the caller's scale of the loss."""
    scaled, scale = run.errors, run.scale
    assert scale is not None
    run.errors = [None if error is None else before_scale(error, scale) for error in scaled]
    try:
        yield
    finally:
        run.errors = scaled


def _is_large(errors: Sequence[Tensor | None]) -> bool:
    """Whether errors are larger than those of a mean over rows usually are."""
    found = [error for error in errors if error is not None and error.numel()]
    # A model that returns its loss has a scalar error, without rows.
    return any(bool(error.abs().max() * (error.shape or [1])[0] > LARGE) for error in found)


def _listeners(loss: Tensor) -> Iterator[Any]:
    """Yield the nodes in the graph of a loss that receive its scale."""
    nodes: list[Any] = [loss.grad_fn]
    seen = set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        takes = getattr(node, "takes_scale", False)
        if takes:
            yield node
        if not takes or node.leads_on:  # to a model before this one
            nodes += [following for following, _ in node.next_functions]
