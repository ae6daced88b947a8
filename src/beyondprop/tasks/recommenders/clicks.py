"""What tasks of clicks have in common: inputs are numbers of values, a target is whether."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from beyondprop.tasks.kinds import label_loss
from beyondprop.tasks.metrics import auc


def scored(sizes: Sequence[int]) -> dict[str, Any]:
    """Return the fields of a task of clicks by which it is taught and scored.

    Args:
        sizes: How many values each field has.
    """
    return {
        "loss": label_loss,
        "metric": auc,
        "metric_name": "AUC",
        "axes": "batch features",  # each field has a part of the feedback of its own
        "features": partial(one_hot, tuple(sizes)),
    }


def one_hot(sizes: Sequence[int], inputs: Tensor) -> Tensor:
    """Return inputs, (n, fields) int64, one-hot: (n, all values of all fields) float32."""
    starts = torch.tensor([0, *sizes[:-1]], device=inputs.device).cumsum(0)
    made = torch.zeros(len(inputs), sum(sizes), device=inputs.device)
    return made.scatter_(1, inputs + starts, 1.0)
