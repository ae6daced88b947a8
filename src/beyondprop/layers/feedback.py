"""What layers with a backward of their own have in common."""

from operator import call
from typing import Any

import torch
from torch import Tensor, nn

from beyondprop._torch.tracing import TRACERS, check_run
from beyondprop.core import AtWeight

AtWeights = dict[str, AtWeight]
"""The weights of a layer at which its rule is asked, by their names in the layer."""


def autocast(*tensors: Tensor | None) -> list[Any]:
    """Cast tensors as `torch.autocast` would for a matrix product; gradients cast back.

    Like there, double precision stays what it is.
    """
    device = next(t.device.type for t in tensors if t is not None)
    if not torch.is_autocast_enabled(device):
        return list(tensors)
    dtype = torch.get_autocast_dtype(device)
    return [t if t is None or t.dtype is torch.float64 else t.to(dtype) for t in tensors]


def taught(layer: Any, x: Any) -> bool:
    """Whether a forward pass with this input may be followed by a backward pass under the rule."""
    if not torch.is_grad_enabled():
        return False
    for at in layer._feedback.values():
        if at.mode.exact:
            return False
        # A call of check_run in every pass would take longer; the compiler cannot follow TRACERS.
        if not torch.compiler.is_dynamo_compiling() and (
            any(map(call, TRACERS)) or not isinstance(x, Tensor)
        ):
            check_run(x)
        return True
    return False


def mark(bias: Tensor | None, like: Tensor) -> Tensor:
    """Return what a layer saves beside what the plain one saves.

    So checkpointing, which counts what is saved, tells where the forward pass is exact and the
    recomputation is not.
    """
    return like.new_empty(0) if bias is None else bias


def needed_for(x: Tensor, at: AtWeight) -> bool:
    """Whether a layer with this input needs the matrix that replaces its weight.

    A first layer carries no error back, so no matrix is drawn for it. But what a rule learns by
    gradients must learn from all uses of a layer, as its weight does.
    """
    return x.requires_grad or any(isinstance(t, nn.Parameter) for t in at.state.values())


def feedback(weight: Tensor, at: AtWeight) -> Tensor:
    """Return what replaces the weight in the backward pass."""
    return at.rule.feedback(weight.detach(), at)
