"""What a section of the audit explains: samples of the test part, and their regions."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from beyondprop.audit.base import Audited, classified
from beyondprop.audit.explanations.evidence import training_mean
from beyondprop.audit.explanations.regions import patches, variables
from beyondprop.errors import UserError

ROWS = 10_000
"""Training rows by which a table's columns of one category are found."""


@dataclass(frozen=True, eq=False)
class Subject:
    """Samples that are explained, in random order.

    Attributes:
        rows: Of the test part, ``(n,)``.
        inputs: ``(n, ...)``.
        targets: ``(n,)``.
        absent: The mean of the training inputs.
        image: Height and width, where the inputs are images.
        regions: Patches or variables, of one input.
        finer: Smaller patches for occlusion, or the same variables.
        across: Patches in a row; 0 where there are none.
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
        """Return the first of them."""
        rows, inputs, targets = (each[:count] for each in (self.rows, self.inputs, self.targets))
        return replace(self, rows=rows, inputs=inputs, targets=targets)


def subject_of(
    audited: Audited, count: int, image: tuple[int, int] | None, grid: int, finer: int
) -> Subject:
    """Return what is explained of a task.

    Args:
        audited: Whose data.
        count: Samples at most.
        image: Height and width of images that the task gives as vectors.
        grid: Patches of an image along each side.
        finer: The same for occlusion; of small images no more than there are pixels.

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
            raise UserError(f"{shape[0]} numbers are no image of {image[0]} x {image[1]}")
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
