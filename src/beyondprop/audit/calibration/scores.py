"""Scores that reward being right and being honest: Brier's, and the likelihood."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def brier(probabilities: Tensor, targets: Tensor) -> Tensor:
    """Return the Brier score of each sample, ``(n,)``; the score is their mean (Brier 1950).

    Args:
        probabilities: ``(n, classes)``, whose squared errors are summed, so that the worst is 2; or
            of class 1 ``(n,)``, whose squared error is half of that.
        targets: Classes, ``(n,)`` int64.
    """
    if probabilities.dim() == 1:
        return (probabilities - targets).square()
    right = F.one_hot(targets, probabilities.shape[1])  # (n, classes)
    return (probabilities - right).square().sum(1)


def negative_log_likelihood(logits: Tensor, targets: Tensor) -> Tensor:
    """Return minus the logarithm of the right class's probability, ``(n,)``, in nats.

    Args:
        logits: ``(n, classes)``.
        targets: Classes, ``(n,)`` int64.
    """
    return F.cross_entropy(logits, targets, reduction="none")
