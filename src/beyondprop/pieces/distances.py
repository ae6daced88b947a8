"""How far a student's output is from the teacher's: the losses of pieces, as objects.

Each is a mean over the output's tensors of real numbers; but for the one of labels it is relative
to the teacher's, so that errors of different neighbourhoods can be compared. Shao et al.,
"Neighbourhood distillation: on the benefits of non end-to-end distillation", arXiv 2010.01189,
train by a squared error; relative errors of one vector at a time are those of block-wise searches
(Bercovich et al., "Puzzle", arXiv 2411.19146).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, kl_div

from beyondprop._torch.pytrees import leaves
from beyondprop.errors import UserError
from beyondprop.registry import Registry

LEAST = 1e-2
"""The least share of the batch's mean squared norm by which an error is divided: a vector that is
shorter than a tenth of the others counts as if it were as long as that."""
TINY = 1e-30
"""A mean squared norm below it is that of nothing."""


class Distance(ABC):
    """A differentiable distance between two outputs of one form."""

    name: ClassVar[str]

    @abstractmethod
    def between(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the distance of two tensors of one shape, ``(batch, ...)``: a scalar."""

    def __call__(self, student: Any, teacher: Any) -> Tensor:
        """Return the mean distance over the tensors of two outputs.

        Raises:
            UserError: They have other tensors, or other shapes.
        """
        own, other = reals(student), reals(teacher)
        shapes = [[tuple(each.shape) for each in found] for found in (own, other)]
        if shapes[0] != shapes[1] or not own:
            raise UserError(
                f"the student's output has the shapes {shapes[0]} and the teacher's {shapes[1]}: a "
                "student returns what the teacher's piece returns"
            )
        return torch.stack([self.between(*pair) for pair in zip(own, other, strict=True)]).mean()


def reals(value: Any) -> list[Tensor]:
    """Return the tensors of real numbers in an output, in order; in single precision at least, as
    sums of squares leave the range of half precision.
    """
    return [
        each.float() if each.itemsize < torch.float32.itemsize else each
        for each in leaves(value)
        if each.is_floating_point()
    ]


@dataclass(frozen=True)
class RelativeError(Distance):
    """The squared error of the whole batch over the teacher's squared norm: ``|s - t|² / |t|²``."""

    name: ClassVar[str] = "relative"

    def between(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return it of two tensors."""
        size = teacher.square().sum()
        return (student - teacher).square().sum() / divisor(size, size)


@dataclass(frozen=True)
class VectorError(Distance):
    """The same of each vector alone, then the mean: small vectors count as much as large ones.

    Attributes:
        axis: Of the vectors, such as -1 of tokens ``(batch, tokens, features)`` and 1 of maps
            ``(batch, channels, height, width)``; None: all numbers of a sample are one vector.
    """

    name: ClassVar[str] = "relative-vectors"
    axis: int | None = None

    def between(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return it of two tensors."""
        one, other = (vectors(each, self.axis) for each in (student, teacher))
        error, sizes = (one - other).square().sum(-1), other.square().sum(-1)
        return (error / divisor(sizes, sizes.mean())).mean()


@dataclass(frozen=True)
class Deviation(Distance):
    """The squared error over the teacher's variance in the batch: one less R².

    A constant part of the output, which any student learns at once, does not make it small. A
    variance of less than a hundredth of the mean square, as of a batch of one, counts as that.
    """

    name: ClassVar[str] = "deviation"

    def between(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return it of two tensors."""
        spread = (teacher - teacher.mean(0)).square().sum()
        return (student - teacher).square().sum() / divisor(spread, teacher.square().sum())


@dataclass(frozen=True)
class Angle(Distance):
    """One less the cosine of each pair of vectors, then the mean.

    Attributes:
        axis: Of the vectors; see `VectorError`.
    """

    name: ClassVar[str] = "cosine"
    axis: int | None = None

    def between(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return it of two tensors."""
        one, other = (vectors(each, self.axis) for each in (student, teacher))
        return 1 - cosine_similarity(one, other, dim=-1).mean()


@dataclass(frozen=True)
class SoftLabels(Distance):
    """The cross-entropy of the student's softened classes by the teacher's, less the teacher's own.

    Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network", arXiv 1503.02531: for
    outputs that are logits, by the last axis.

    Attributes:
        temperature: By which logits are divided; the square of it makes up for smaller gradients.
    """

    name: ClassVar[str] = "soft-labels"
    temperature: float = 4.0

    def between(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return it of two tensors of logits, ``(..., classes)``."""
        if teacher.dim() < 2:
            raise UserError(
                f"soft labels need logits (batch, ..., classes), and the teacher's output is "
                f"{tuple(teacher.shape)}: take another distance"
            )
        one, other = (each.flatten(0, -2) / self.temperature for each in (student, teacher))
        divergence = kl_div(
            one.log_softmax(-1), other.log_softmax(-1), reduction="batchmean", log_target=True
        )
        return divergence * self.temperature**2


def divisor(sizes: Tensor, mean: Tensor) -> Tensor:
    """Return what squared errors are divided by: squared norms, but no small share of their mean.

    Where the teacher gives nothing but zeros, errors count as they are.
    """
    return torch.where(mean > TINY, torch.maximum(sizes, LEAST * mean), 1.0)


def vectors(x: Tensor, axis: int | None) -> Tensor:
    """Return a tensor's vectors along its last axis, ``(..., numbers)``.

    Raises:
        UserError: It has no such axis.
    """
    if axis is None:
        return x.reshape(len(x), -1)  # of one number each, where a sample is one
    if not -x.dim() <= axis < x.dim():
        raise UserError(f"the teacher's output, {tuple(x.shape)}, has no axis {axis} of vectors")
    return x.movedim(axis, -1)


DISTANCES: Registry[Distance] = Registry(
    "distance",
    Distance,
    {
        each.name: each
        for each in (RelativeError(), VectorError(), Deviation(), Angle(), SoftLabels())
    },
    key="distance",
)
"""By name."""
