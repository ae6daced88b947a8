"""A classifier's outputs as one logit per class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from beyondprop.errors import UserError
from beyondprop.tasks import call

Logits = Callable[[Tensor], Tensor]
"""Inputs ``(n, ...)`` to logits ``(n, classes)``."""


def logits_of(model: nn.Module, inputs: Any) -> Tensor:
    """Return a model's logits, ``(n, classes)``.

    A model that returns one number per sample returns the log odds of class 1; the logit of class 0
    is then 0.

    Raises:
        UserError: The outputs have another form, or are not all finite.
    """
    logits = as_logits(call(model, inputs))
    if not bool(logits.isfinite().all()):
        raise UserError("the model's outputs are not all finite, so it has no answers")
    return logits


def as_logits(outputs: Any) -> Tensor:
    """Return outputs ``(n, classes)``, or for two classes ``(n, 1)`` or ``(n,)``, as logits.

    Raises:
        UserError: The outputs have another shape, or are not real numbers.
    """
    if not isinstance(outputs, Tensor) or not outputs.is_floating_point():
        raise UserError(f"a classifier's outputs must be real numbers, not a {_told(outputs)}")
    single = outputs.dim() == 1 or (outputs.dim() == 2 and outputs.shape[1] == 1)
    if single:
        odds = outputs.reshape(-1)  # (n,)
        return torch.stack([torch.zeros_like(odds), odds], dim=1)  # (n, 2)
    if outputs.dim() != 2:
        raise UserError(f"a classifier's outputs must be (n, classes), not {tuple(outputs.shape)}")
    return outputs


def _told(outputs: Any) -> str:
    if isinstance(outputs, Tensor):
        return f"tensor of {str(outputs.dtype).removeprefix('torch.')}"
    return type(outputs).__name__
