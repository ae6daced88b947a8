"""The order of training samples."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def order(seed: int, epoch: int, length: int) -> Tensor:
    """Return the order of the data, which depends only on the seed and the epoch, not on the rule.

    Returns:
        A permutation of `range(length)`, int64.
    """
    return torch.from_numpy(np.random.default_rng([seed, epoch]).permutation(length))


def drawn(length: int, size: int) -> Tensor:
    """Return the sample numbers of a fixed batch for trials and measurements.

    The samples are drawn at random, as training batches are: the first samples of ordered data may
    be of one class, or from one corner of an image.

    Args:
        length: Number of training samples.
        size: Maximum size of the batch.
    """
    return order(0, 0, length)[:size]
