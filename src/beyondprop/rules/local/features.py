"""What local losses make of a block's output."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

POOLS: dict[int, Callable[..., Tensor]] = {
    3: F.adaptive_avg_pool1d,
    4: F.adaptive_avg_pool2d,
    5: F.adaptive_avg_pool3d,
}


def by_token(x: Tensor, targets: Tensor) -> bool:
    """Whether every token of ``(batch, tokens, features)`` has a target of its own."""
    return x.dim() == 3 and targets.shape == x.shape[:2]


def of_maps(x: Tensor, targets: Tensor) -> bool:
    """Whether every position of ``(batch, channels, ...)`` has a target of its own."""
    return x.dim() >= 4 and targets.dim() == x.dim() - 1


def pooled(x: Tensor, most: int) -> Tensor:
    """Return ``(batch, features)``: maps averaged over patches, to ``most`` features if need be."""
    if x.dim() not in POOLS or x[0].numel() <= most:
        return x.flatten(1)
    dims = x.dim() - 2
    side = max(1, math.floor((most / x.shape[1]) ** (1 / dims)))
    sides = [min(side, size) for size in x.shape[2:]]
    return POOLS[x.dim()](x, sides).flatten(1)


def similar_features(x: Tensor) -> Tensor:
    """Return ``(batch, features)``: of more than three maps their deviations."""
    if x.dim() >= 4 and x.shape[1] > 3 and x[0, 0].numel() > 1:
        return x.flatten(2).std(2)
    return x.flatten(1)


def centred_cosines(x: Tensor) -> Tensor:
    """Return the cosines between samples ``(batch, features)``, each less its own mean."""
    normed = F.normalize(x - x.mean(1, keepdim=True), dim=1, eps=1e-8)
    return normed @ normed.t()


def one_hot(targets: Tensor, classes: int) -> Tensor:
    """Return ``(rows, classes)``; a negative number, which losses leave out, has a row of zeros."""
    known = (targets >= 0).unsqueeze(1)
    return torch.zeros(len(targets), classes, device=targets.device).scatter(
        1, targets.clamp(min=0).unsqueeze(1), known.float()
    )
