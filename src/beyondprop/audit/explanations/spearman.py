"""Whether two models give the same reasons."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from beyondprop.errors import UserError


def agreement(first: Tensor, second: Tensor) -> Tensor:
    """Return Spearman's rank correlation of two attribution maps, sample by sample.

    Args:
        first: ``(n, ...)``.
        second: In the same shape.

    Returns:
        Shape ``(n,)`` float64; NaN if a map is constant.
    """
    a, b = _ranks(first), _ranks(second)  # (n, numbers), centred
    size = (a.square().sum(1) * b.square().sum(1)).sqrt()
    return (a * b).sum(1) / size.where(size > 0, torch.nan)


def chance(first: Tensor, second: Tensor) -> Tensor:
    """Return the agreement of maps of different samples, ``(n,)``. It is the part of the agreement
    that all samples share, for example because of an empty border.

    Raises:
        UserError: There is only one sample.
    """
    if len(first) < 2:
        raise UserError("a comparison of two models' explanations needs at least two samples")
    return agreement(first, second.roll(1, 0))


def _ranks(maps: Tensor) -> Tensor:
    from scipy.stats import rankdata

    ranks = rankdata(maps.detach().flatten(1).cpu().numpy(), axis=1).astype(np.float64)
    found = torch.from_numpy(ranks)
    return found - found.mean(1, keepdim=True)
