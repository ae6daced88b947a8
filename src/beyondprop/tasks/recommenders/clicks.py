"""Common parts of click tasks: inputs are value numbers, a target is whether there is a click."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from beyondprop.tasks.kinds import label_loss
from beyondprop.tasks.metrics import auc


def scored(sizes: Sequence[int]) -> dict[str, Any]:
    """Return the fields of a click task for training and scoring.

    Args:
        sizes: Number of values of each field.
    """
    return {
        "loss": label_loss,
        "metric": auc,
        "metric_name": "AUC",
        "axes": "batch features",  # each field has its own part of the feedback
        "features": partial(one_hot, tuple(sizes)),
    }


def one_hot(sizes: Sequence[int], inputs: Tensor) -> Tensor:
    """Return inputs (n, fields) int64 one-hot: (n, total number of values) float32."""
    starts = torch.tensor([0, *sizes[:-1]], device=inputs.device).cumsum(0)
    made = torch.zeros(len(inputs), sum(sizes), device=inputs.device)
    return made.scatter_(1, inputs + starts, 1.0)
