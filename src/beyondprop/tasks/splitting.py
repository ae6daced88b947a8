"""Seeded splits: samples held out equally from each class, and training samples drawn per run."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from beyondprop.errors import UserError, shown
from beyondprop.tasks.samples import Data


def hold_out(labels: Tensor, per_class: int, seed: int) -> tuple[Tensor, Tensor]:
    """Hold out `per_class` samples of each class; the same seed always selects the same samples.

    Args:
        labels: (n,) classes from 0, integer.
        per_class: Number of samples of each class to hold out.
        seed: Seed of the draw.

    Returns:
        Indices of the remaining samples and of the held-out ones, each in ascending order.

    Raises:
        UserError: A class would have no samples left.
    """
    # RandomState, because it is the only stream that NumPy promises never to change (NEP 19).
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


def in_three(
    labels: Tensor, shares: tuple[float, float], seed: int, names: Sequence[str], source: str = ""
) -> tuple[Tensor, Tensor, Tensor]:
    """Split samples into training, validation and test, with equal shares of each class.

    Args:
        labels: (n,) classes from 0, integer.
        shares: Fractions of each class for validation and for test; each split gets at least one
            sample.
        seed: Seed of the draw; the same seed always gives the same split.
        names: Names of the classes, for messages.
        source: The file or folder of the samples, for messages.

    Returns:
        Indices of the samples of each split, in ascending order.

    Raises:
        UserError: The shares leave nothing for training, or a class has too few samples.
    """
    if min(shares) <= 0 or sum(shares) >= 1:
        raise UserError(
            f"the shares for validation and test must be above 0 and together below 1, not "
            f"{shares[0]:g} and {shares[1]:g}"
        )
    generator = np.random.RandomState(seed)
    parts: list[list[Tensor]] = [[], [], []]
    for label, count in enumerate(labels.bincount().tolist()):
        held = [max(1, round(share * count)) for share in shares]
        if sum(held) >= count:
            there = "there is 1 sample" if count == 1 else f"there are {count} samples"
            of = f" of class {shown(names[label])}" if names[label] else ""
            remedy = "add samples, or leave the class out" if of else "add samples"
            raise UserError(
                f"{source}{': ' if source else ''}{there}{of}, and training, validation and test "
                f"need one each: {remedy}"
            )
        members = (labels == label).nonzero().flatten()
        drawn = members[torch.from_numpy(generator.permutation(count))]
        sizes = [count - sum(held), *held]
        for part, rows in zip(parts, drawn.split(sizes), strict=True):
            part.append(rows)
    train, validation, test = (torch.cat(part).sort().values for part in parts)
    return train, validation, test


def in_three_at_random(
    count: int, shares: tuple[float, float], seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Split samples into training, validation and test, whatever their classes.

    Args:
        count: Number of samples.
        shares: Fractions for validation and for test.
        seed: Seed of the draw.

    Returns:
        Indices of the samples of each split, in ascending order.

    Raises:
        UserError: The shares leave nothing for training, or there are too few samples.
    """
    return in_three(torch.zeros(count, dtype=torch.int64), shares, seed, ("",))


@dataclass(frozen=True)
class Drawn:
    """Draws training samples by a run's seed, whatever their classes: a task's ``split``.

    Attributes:
        count: Number of training samples.
    """

    count: int

    def __call__(self, data: Data, seed: int) -> Data:
        """Return the data with only these training samples, in their order.

        Raises:
            UserError: There are too few samples, or the count is below one.
        """
        whole = len(data.train)
        if not 0 < self.count <= whole:
            raise UserError(
                f"{data.name} has {whole:,} training samples: draw 1 to {whole:,} of them, "
                f"not {self.count:,}"
            )
        generator = np.random.RandomState(seed)
        rows = np.sort(generator.permutation(whole)[: self.count])
        return replace(data, train=data.train.some(torch.from_numpy(rows)))
