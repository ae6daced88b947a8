"""Proper scoring rules: the Brier score and the negative log-likelihood."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def brier(probabilities: Tensor, targets: Tensor) -> Tensor:
    """Return the Brier score of each sample, ``(n,)``; the score of a model is the mean (Brier
    1950).

    Args:
        probabilities: ``(n, classes)``: the squared errors are summed over the classes, so the
            worst score is 2. Or the probability of class 1, ``(n,)``: the squared error, half of
            that sum.
        targets: Classes, ``(n,)`` int64.
    """
    if probabilities.dim() == 1:
        return (probabilities - targets).square()
    right = F.one_hot(targets, probabilities.shape[1])  # (n, classes)
    return (probabilities - right).square().sum(1)


def negative_log_likelihood(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the negative logarithm of the true class's probability, ``(n,)``, in nats.

    Args:
        logits: ``(n, classes)``.
        targets: Classes, ``(n,)`` int64.
    """
    return F.cross_entropy(logits, targets, reduction="none")
