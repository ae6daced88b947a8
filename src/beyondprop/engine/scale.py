"""How the caller has scaled a loss, for signals that its gradient does not carry.

A backward pass cannot see by itself what a gradient at the model's output was multiplied by. So
the loss goes through a node whose backward tells the model's passes before any signal is made.
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
"""Largest error times rows beyond which a loss may be scaled; cross-entropy stays below 1."""

ADVICE = (
    "pass the loss through handle.loss(loss) before it is scaled, divided or goes backward, or "
    "clear the gradients before each backward pass"
)


def told_scale(loss: Tensor, share: Tensor | float = 1.0) -> Tensor:
    """Return the loss, through a node that tells the passes behind it how it was scaled.

    Args:
        loss: One number, made of outputs of taught passes.
        share: How much of a mean over samples or tokens the loss is.

    Raises:
        UserError: It is not one number.
    """
    if loss.numel() != 1:
        raise UserError(f"handle.loss takes one number, the loss, not {tuple(loss.shape)} of them")
    if getattr(loss.grad_fn, "tells_scale", False):  # it is told already
        return loss
    listeners = list(_listeners(loss))
    return TellScale.apply(loss, listeners, share) if listeners else loss


class TellScale(torch.autograd.Function):
    """The loss as it is; what arrives in its backward pass is what the caller has made of it."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, listeners: Sequence[Any], share: Tensor | float) -> Tensor:
        """Return the loss.

        Args:
            ctx: The node.
            loss: One number.
            listeners: The nodes at the outputs of the model's passes.
            share: How much of a mean the loss is.
        """
        ctx.listeners, ctx.share, ctx.tells_scale = listeners, share, True
        return loss.clone()  # callers work in place on it: ``loss *= 2``

    @staticmethod
    def backward(ctx: Any, *scales: Tensor) -> Any:
        """Tell the scale."""
        scale = scales[0].detach().reshape(()) * ctx.share
        for node in ctx.listeners:
            earlier = getattr(node, "scale", None)
            if earlier is not None and bool(earlier != scale):
                raise UserError(
                    "two losses of one forward pass go backward together, scaled differently, each "
                    "through handle.loss: pass their weighted sum through it once"
                )
            node.scale = scale
        return scales[0], None, None


class ScaleWatch:
    """Sees how losses are scaled, for rules whose signals do not follow that.

    Args:
        parameter: One that such a rule teaches.
    """

    def __init__(self, parameter: Tensor) -> None:
        self.parameter = parameter
        self._searched = False

    def hear(self, node: Any) -> None:
        """Have the pass of a node at the model's output know the scale, for one backward pass.

        Raises:
            UserError: Nobody has told it, and it matters.
        """
        run = node.run
        run.scale, node.scale = getattr(node, "scale", None), None
        if run.scale is not None:
            return
        gradient = self.parameter.grad
        if gradient is not None and bool(gradient.any()):
            raise UserError(
                "a backward pass adds to gradients that are there already, under a rule whose "
                f"signals do not follow the scale of the loss: {ADVICE}"
            )
        if not self._searched:
            self._searched = True
            if _is_large(run.errors) and scaler_in_use():
                raise UserError(
                    "a GradScaler scales the loss, under a rule whose signals do not follow that: "
                    f"{ADVICE}"
                )


def scale_watch(blocks: Sequence[Block]) -> ScaleWatch | None:
    """Return what sees how losses are scaled, None where all signals follow that."""
    deaf = [p for b in blocks if not b.rule.traits.scales_with_loss for _, p in b.parameters()]
    # One that rests may learn later.
    parameter = next((p for p in deaf if p.requires_grad), deaf[0] if deaf else None)
    return None if parameter is None else ScaleWatch(parameter)


def before_scale(gradient: Tensor, scale: Tensor) -> Tensor:
    """Return a gradient as it was before the loss was scaled; where the scale is 0, zeros."""
    return gradient / torch.where(scale == 0, 1, scale).to(gradient)


@contextmanager
def unscaled(run: ForwardPass) -> Iterator[None]:
    """Show rules the errors as they were before the caller scaled the loss."""
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
    # A model that returns its loss has one number, and no rows.
    return any(bool(error.abs().max() * (error.shape or [1])[0] > LARGE) for error in found)


def _listeners(loss: Tensor) -> Iterator[Any]:
    """Yield the nodes behind a loss that take its scale."""
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
