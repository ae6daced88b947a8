"""Common parts of layers with a modified backward pass."""

from operator import call
from typing import Any

import torch
from torch import Tensor, nn

from beyondprop._torch.tracing import TRACERS, check_run, refuse_export
from beyondprop.core import AtWeight

AtWeights = dict[str, AtWeight]
"""The weights of a layer that its rule replaces, by their names in the layer."""


def autocast(*tensors: Tensor | None) -> list[Any]:
    """Cast tensors as `torch.autocast` would for a matrix product; gradients cast back.

    As there, double precision is not cast.
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
        if torch.compiler.is_dynamo_compiling():  # it cannot follow TRACERS
            if torch.compiler.is_exporting():
                refuse_export()
        # Faster than calling check_run in every pass.
        elif any(map(call, TRACERS)) or not isinstance(x, Tensor):
            check_run(x)
        return True
    return False


def mark(bias: Tensor | None, like: Tensor) -> Tensor:
    """Return a tensor that a layer saves in addition to those of the plain layer.

    Checkpointing counts the saved tensors, so it fails if the forward pass was exact and the
    recomputation is not.
    """
    return like.new_empty(0) if bias is None else bias


def needed_for(x: Tensor, at: AtWeight) -> bool:
    """Whether a layer with this input needs the matrix that replaces its weight.

    A first layer propagates no error, so no matrix is drawn for it. But state that a rule learns
    from gradients must learn from all uses of a layer, as the weight does.
    """
    return x.requires_grad or any(isinstance(t, nn.Parameter) for t in at.state.values())


def feedback(weight: Tensor, at: AtWeight) -> Tensor:
    """Return the replacement for the weight in the backward pass."""
    return at.rule.feedback(weight.detach(), at)
