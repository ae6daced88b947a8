"""Parts of an input that are hidden or shown as one: patches of an image, columns of a table.

Regions are a tensor in the shape of one input, int64: the number, from 0 on, of the region that
each of its numbers is in.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from beyondprop.errors import UserError

MOST_COLUMNS = 100
"""Columns that are searched for one category, as many as a column of a table becomes."""


def count_of(regions: Tensor) -> int:
    """Return how many regions there are."""
    return int(regions.max()) + 1


def patches(shape: Sequence[int], rows: int, columns: int) -> Tensor:
    """Return an image's patches, row by row, over all channels.

    Args:
        shape: Of an image, (channels, height, width).
        rows: Of patches; where they do not divide the height, sizes differ by one pixel.
        columns: Of patches.

    Raises:
        UserError: The image has fewer pixels than that.
    """
    channels, height, width = shape
    if not (1 <= rows <= height and 1 <= columns <= width):
        raise UserError(f"an image of {height} x {width} has no {rows} x {columns} patches")
    down = torch.arange(height) * rows // height  # (height,)
    across = torch.arange(width) * columns // width  # (width,)
    return (down[:, None] * columns + across).expand(channels, height, width).contiguous()


def variables(inputs: Tensor) -> Tensor:
    """Return the variables of a table's rows: each number alone, and columns of one category (one
    of which is 1 in each row, the others 0) as one.

    Args:
        inputs: ``(n, features)``, of the training part.

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
    """Return how many columns from this one on are one category; 1 where they are none."""
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
    """Return regions of which all but the weightiest are one, at most so many.

    Args:
        regions: Of one input.
        weights: Of each region, ``(regions,)``.
        most: Regions that are left, at least 2.

    Returns:
        The regions anew, in the order of the old ones with the rest last, and of which old regions
        each is made.
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
    """Return inputs of which some regions are kept, and the others are hidden.

    Args:
        inputs: ``(n, ...)``, or ``(1, ...)`` for one and the same.
        absent: In the shape of one input; what takes the place of what is hidden.
        regions: Of one input.
        kept: Which regions, ``(n, regions)`` bool.

    Returns:
        Shape ``(n, ...)``.
    """
    mask = kept[:, regions.flatten()].view(len(kept), *regions.shape)  # (n, ...)
    return torch.where(mask, inputs, absent)
