"""Seeded splits that hold out the same number of samples of each class."""

import numpy as np
import torch
from torch import Tensor

from beyondprop.errors import UserError


def hold_out(labels: Tensor, per_class: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draw `per_class` samples of each class; the same seed draws the same ones, always.

    Args:
        labels: (n,) classes from 0, integer.
        per_class: Samples to draw of each class.
        seed: Of the draw.

    Returns:
        Indices of the samples left and of those drawn, each in ascending order.

    Raises:
        UserError: A class would have nothing left.
    """
    # RandomState, because NumPy promises to never change its stream, and no other one's (NEP 19).
    generator = np.random.RandomState(seed)
    left = torch.ones(len(labels), dtype=torch.bool)
    for label, count in enumerate(labels.bincount().tolist()):
        if count <= per_class:
            raise UserError(
                f"cannot hold out {per_class} samples of class {label}: it has only {count}"
            )
        members = (labels == label).nonzero().flatten()
        left[members[torch.from_numpy(generator.permutation(count)[:per_class])]] = False
    return left.nonzero().flatten(), left.logical_not().nonzero().flatten()
