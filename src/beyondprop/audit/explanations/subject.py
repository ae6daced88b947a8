"""The subject of an explanation: samples of the test split, and their regions."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from beyondprop.audit.base import Audited, classified
from beyondprop.audit.explanations.evidence import training_mean
from beyondprop.audit.explanations.regions import patches, variables
from beyondprop.errors import UserError

ROWS = 10_000
"""Training rows that are searched for the one-hot columns of a table."""


@dataclass(frozen=True, eq=False)
class Subject:
    """Samples to explain, in random order.

    Attributes:
        rows: Their numbers in the test split, ``(n,)``.
        inputs: ``(n, ...)``.
        targets: ``(n,)``.
        absent: The mean of the training inputs.
        image: Height and width if the inputs are images.
        regions: Patches or variables of one input.
        finer: Smaller patches for occlusion, or the same variables.
        across: Patches in a row; 0 if there are none.
    """

    rows: Tensor
    inputs: Tensor
    targets: Tensor
    absent: Tensor
    image: tuple[int, int] | None
    regions: Tensor
    finer: Tensor
    across: int = 0

    def first(self, count: int) -> Subject:
        """Return the first `count` samples."""
        rows, inputs, targets = (each[:count] for each in (self.rows, self.inputs, self.targets))
        return replace(self, rows=rows, inputs=inputs, targets=targets)


def subject_of(
    audited: Audited, count: int, image: tuple[int, int] | None, grid: int, finer: int
) -> Subject:
    """Return the samples of a task that are explained.

    Args:
        audited: Provides the task and the data.
        count: Maximum number of samples.
        image: Height and width of images that the task provides as vectors.
        grid: Patches of an image along each side.
        finer: Patches along each side for occlusion; at most the number of pixels.

    Raises:
        UserError: The inputs are neither images nor rows of a table, or there are no classes.
    """
    classified(audited)
    test = audited.data.test
    generator = torch.Generator().manual_seed(audited.seed)
    rows = torch.randperm(len(test), generator=generator)[:count]
    inputs, targets = test.batch(rows)
    shape = inputs.shape[1:]
    absent = training_mean(audited.data.train)
    if image is not None and len(shape) == 1:
        if image[0] * image[1] != shape[0]:
            raise UserError(f"{shape[0]} numbers are not an image of {image[0]} x {image[1]}")
        regions, small = (_grid((1, *image), each).flatten() for each in (grid, finer))
        across = min(grid, image[1])
        return Subject(rows, inputs, targets, absent, image, regions, small, across)
    if len(shape) == 3:
        size = (shape[1], shape[2])
        regions, small = (_grid(shape, each) for each in (grid, finer))
        across = min(grid, size[1])
        return Subject(rows, inputs, targets, absent, size, regions, small, across)
    if len(shape) != 1:
        raise UserError(
            f"inputs of shape {tuple(shape)} are neither images (channels, height, width) nor rows "
            "of a table: beyondprop.audit.explanations.explain takes regions of your own"
        )
    regions = variables(audited.data.train.batch(slice(0, ROWS))[0])
    return Subject(rows, inputs, targets, absent, None, regions, regions)


def _grid(shape: tuple[int, ...] | torch.Size, count: int) -> Tensor:
    return patches(shape, min(count, shape[1]), min(count, shape[2]))
