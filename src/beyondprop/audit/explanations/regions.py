"""Parts of an input that are hidden or shown together: patches of an image, columns of a table.

Regions are an int64 tensor in the shape of one input. It holds the region number, counted from 0,
of each number of the input.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from beyondprop.errors import UserError

MOST_COLUMNS = 100
"""Maximum number of consecutive columns that are searched for one category."""


def count_of(regions: Tensor) -> int:
    """Return the number of regions."""
    return int(regions.max()) + 1


def patches(shape: Sequence[int], rows: int, columns: int) -> Tensor:
    """Return the patches of an image, numbered row by row, each across all channels.

    Args:
        shape: Shape of an image, (channels, height, width).
        rows: Rows of patches; if they do not divide the height, sizes differ by one pixel.
        columns: Columns of patches.

    Raises:
        UserError: The image has too few pixels.
    """
    channels, height, width = shape
    if not (1 <= rows <= height and 1 <= columns <= width):
        raise UserError(f"an image of {height} x {width} has no {rows} x {columns} patches")
    down = torch.arange(height) * rows // height  # (height,)
    across = torch.arange(width) * columns // width  # (width,)
    return (down[:, None] * columns + across).expand(channels, height, width).contiguous()


def variables(inputs: Tensor) -> Tensor:
    """Return the variables of a table: single columns, and the columns of each one-hot category
    (exactly one of them is 1 in each row, the others 0) as one variable.

    Args:
        inputs: ``(n, features)``, from the training split.

    Returns:
        Shape ``(features,)``.
    """
    marks = ((inputs == 0) | (inputs == 1)).all(0).tolist()
    regions, at, number = [], 0, 0
    while at < inputs.shape[1]:
        size = _category(inputs, marks, at)
        regions += [number] * size
        at, number = at + size, number + 1
    return torch.tensor(regions)


def _category(inputs: Tensor, marks: Sequence[bool], begin: int) -> int:
    """Return how many columns starting at `begin` form one category; 1 if they form none."""
    total = torch.zeros_like(inputs[:, 0])
    for end in range(begin, min(begin + MOST_COLUMNS, len(marks))):
        if not marks[end]:
            break
        total = total + inputs[:, end]
        if end > begin and bool((total == 1).all()):
            return end - begin + 1
        if bool((total > 1).any()):
            break
    return 1


def joined(regions: Tensor, weights: Tensor, most: int) -> tuple[Tensor, list[list[int]]]:
    """Return regions in which all but the `most - 1` largest weights are merged into one region.

    Args:
        regions: Regions of one input.
        weights: Weight of each region, ``(regions,)``.
        most: Maximum number of regions afterwards, at least 2.

    Returns:
        The new regions, in the order of the old ones with the merged rest last, and the old regions
        that each new region contains.
    """
    count = count_of(regions)
    if count <= most:
        return regions, [[i] for i in range(count)]
    first = sorted(weights.argsort(descending=True, stable=True)[: most - 1].tolist())
    number = torch.full((count,), most - 1)
    number[first] = torch.arange(most - 1)
    rest = [i for i in range(count) if i not in set(first)]
    return number[regions], [*([i] for i in first), rest]


def summed(maps: Tensor, regions: Tensor) -> Tensor:
    """Return the sums of maps ``(n, ...)`` over each region, ``(n, regions)``."""
    sums = maps.new_zeros(len(maps), count_of(regions))
    return sums.index_add_(1, regions.flatten().to(maps.device), maps.flatten(1))


def shown(inputs: Tensor, absent: Tensor, regions: Tensor, kept: Tensor) -> Tensor:
    """Return inputs in which some regions are kept and the others are hidden.

    Args:
        inputs: ``(n, ...)``, or ``(1, ...)`` for a single input.
        absent: Replaces hidden regions; in the shape of one input.
        regions: Regions of one input.
        kept: The regions that are kept, ``(n, regions)`` bool.

    Returns:
        Shape ``(n, ...)``.
    """
    mask = kept[:, regions.flatten()].view(len(kept), *regions.shape)  # (n, ...)
    return torch.where(mask, inputs, absent)
