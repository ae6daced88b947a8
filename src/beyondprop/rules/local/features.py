"""What local losses make of a block's output, whatever its axes."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from beyondprop.shapes import FEATURES, TOKENS, Axes, channels_first

POOLS: dict[int, Callable[..., Tensor]] = {
    3: F.adaptive_avg_pool1d,
    4: F.adaptive_avg_pool2d,
    5: F.adaptive_avg_pool3d,
}


def pooled(x: Tensor, axes: Axes, most: int) -> Tensor:
    """Return one row a sample: tokens averaged, maps averaged over patches.

    Args:
        x: A block's output, ``(batch, ...)``.
        axes: What its axes mean.
        most: Features to which maps are averaged, if they have more.

    Returns:
        ``(batch, features)``.
    """
    axes = axes.at(x)
    if axes == TOKENS:
        return x.flatten(1, -2).mean(1)  # (batch, features)
    if axes == FEATURES or x[0].numel() <= most:
        return x.flatten(1)
    dims = x.dim() - 2
    side = max(1, math.floor((most / x.shape[1]) ** (1 / dims)))
    sides = [min(side, size) for size in x.shape[2:]]
    return POOLS[x.dim()](x, sides).flatten(1)  # (batch, channels × patches)


def similar_features(x: Tensor, axes: Axes) -> Tensor:
    """Return ``(batch, features)``: of more than three maps their deviations."""
    if channels_first(x, axes) and x.shape[1] > 3 and x[0, 0].numel() > 1:
        return x.flatten(2).std(2)  # (batch, channels)
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
