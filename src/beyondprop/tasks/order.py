"""In which order training samples come."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def order(seed: int, epoch: int, length: int) -> Tensor:
    """Return the order of the data: of the seed and the epoch alone, so the same for every rule.

    Returns:
        A permutation of `range(length)`, int64.
    """
    return torch.from_numpy(np.random.default_rng([seed, epoch]).permutation(length))


def drawn(length: int, size: int) -> Tensor:
    """Return the numbers of a batch by which something is tried or measured, always the same.

    Drawn, as training batches are: the first samples of ordered data are of one class, or of one
    corner of an image.

    Args:
        length: Of the training part.
        size: Of the batch, at most.
    """
    return order(0, 0, length)[:size]
