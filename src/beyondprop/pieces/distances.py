"""Distances between a student's and the teacher's output: the losses of pieces, as objects.

Each is a mean over the output's floating-point tensors. All except soft labels are relative to the
teacher's output, so that errors of different neighbourhoods can be compared. Shao et al.,
"Neighbourhood distillation: on the benefits of non end-to-end distillation", arXiv 2010.01189,
train with a squared error; block-wise searches use relative errors of single vectors (Bercovich et
al., "Puzzle", arXiv 2411.19146).
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
"""The smallest divisor of an error, as a share of the batch's mean squared norm: a vector shorter
than a tenth of the root mean square counts as if it had that length."""
TINY = 1e-30
"""A mean squared norm of at most this value counts as zero."""


class Distance(ABC):
    """A differentiable distance between two outputs of the same form."""

    name: ClassVar[str]

    @abstractmethod
    def between(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the distance between two tensors of one shape, ``(batch, ...)``: a scalar."""

    def __call__(self, student: Any, teacher: Any) -> Tensor:
        """Return the mean distance over the tensors of two outputs.

        Raises:
            UserError: The outputs have different numbers or shapes of tensors.
        """
        own, other = reals(student), reals(teacher)
        shapes = [[tuple(each.shape) for each in found] for found in (own, other)]
        if shapes[0] != shapes[1] or not own:
            raise UserError(
                f"the student's output has the shapes {shapes[0]} and the teacher's {shapes[1]}: a "
                "student must return the same shapes as the teacher's piece"
            )
        return torch.stack([self.between(*pair) for pair in zip(own, other, strict=True)]).mean()


def reals(value: Any) -> list[Tensor]:
    """Return the floating-point tensors in an output, in order and at least in single precision.

    Sums of squares would exceed the range of half precision.
    """
    return [
        each.float() if each.itemsize < torch.float32.itemsize else each
        for each in leaves(value)
        if each.is_floating_point()
    ]


@dataclass(frozen=True)
class RelativeError(Distance):
    """The batch's squared error over the teacher's squared norm: ``|s - t|² / |t|²``."""

    name: ClassVar[str] = "relative"

    def between(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the distance between two tensors."""
        size = teacher.square().sum()
        return (student - teacher).square().sum() / divisor(size, size)


@dataclass(frozen=True)
class VectorError(Distance):
    """The mean relative error of single vectors: small vectors count as much as large ones.

    Attributes:
        axis: The axis of the vectors, such as -1 for tokens ``(batch, tokens, features)`` and 1 for
            maps ``(batch, channels, height, width)``; None makes each sample one vector.
    """

    name: ClassVar[str] = "relative-vectors"
    axis: int | None = None

    def between(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the distance between two tensors."""
        one, other = (vectors(each, self.axis) for each in (student, teacher))
        error, sizes = (one - other).square().sum(-1), other.square().sum(-1)
        return (error / divisor(sizes, sizes.mean())).mean()


@dataclass(frozen=True)
class Deviation(Distance):
    """The squared error over the teacher's variance in the batch: 1 - R².

    A constant part of the output, which any student learns quickly, does not make it small. A
    variance below a hundredth of the mean square, as in a batch of one, is raised to that value.
    """

    name: ClassVar[str] = "deviation"

    def between(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the distance between two tensors."""
        spread = (teacher - teacher.mean(0)).square().sum()
        return (student - teacher).square().sum() / divisor(spread, teacher.square().sum())


@dataclass(frozen=True)
class Angle(Distance):
    """One minus the mean cosine of pairs of vectors.

    Attributes:
        axis: The axis of the vectors; see `VectorError`.
    """

    name: ClassVar[str] = "cosine"
    axis: int | None = None

    def between(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the distance between two tensors."""
        one, other = (vectors(each, self.axis) for each in (student, teacher))
        return 1 - cosine_similarity(one, other, dim=-1).mean()


@dataclass(frozen=True)
class SoftLabels(Distance):
    """The Kullback-Leibler divergence of the student's softened classes from the teacher's.

    Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network", arXiv 1503.02531. For
    outputs that are logits over the last axis.

    Attributes:
        temperature: Divides the logits; its square compensates for smaller gradients.
    """

    name: ClassVar[str] = "soft-labels"
    temperature: float = 4.0

    def between(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the distance between two tensors of logits, ``(..., classes)``."""
        if teacher.dim() < 2:
            raise UserError(
                f"soft labels need logits (batch, ..., classes), but the teacher's output is "
                f"{tuple(teacher.shape)}: use another distance"
            )
        one, other = (each.flatten(0, -2) / self.temperature for each in (student, teacher))
        divergence = kl_div(
            one.log_softmax(-1), other.log_softmax(-1), reduction="batchmean", log_target=True
        )
        return divergence * self.temperature**2


def divisor(sizes: Tensor, mean: Tensor) -> Tensor:
    """Return the divisors of squared errors: squared norms, but at least a share of their mean.

    If the teacher returns only zeros, errors are not divided.
    """
    return torch.where(mean > TINY, torch.maximum(sizes, LEAST * mean), 1.0)


def vectors(x: Tensor, axis: int | None) -> Tensor:
    """Return a tensor's vectors along its last axis, ``(..., numbers)``.

    Raises:
        UserError: The tensor has no such axis.
    """
    if axis is None:
        return x.reshape(len(x), -1)  # of one number each, if a sample is a scalar
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
"""Every distance by its short name."""
