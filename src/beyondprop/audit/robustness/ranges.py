"""The range of each feature in the training data: the unit of attacks, and their bound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from beyondprop.errors import UserError
from beyondprop.shapes import CHANNELS, TOKENS, Axes
from beyondprop.tasks import Samples

BATCH = 1000


@dataclass(frozen=True)
class Ranges:
    """The ranges of the features.

    A feature is a column of a table ``(n, columns)``, a feature of tokens ``(n, tokens,
    features)``, or a channel of signals, images and the like ``(n, channels, positions...)``: all
    positions of a channel share one range, so that a pixel that is black in every training image
    can be attacked too. Inputs may be standardised or not: in units of their range they are in [0,
    1].

    Attributes:
        low: Minimum of each feature; like the other attributes, in a shape that broadcasts with the
            inputs.
        high: Maximum.
        mean: Mean.
        std: Standard deviation.
    """

    low: Tensor
    high: Tensor
    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, samples: Samples | Tensor, axes: Axes = TOKENS) -> Ranges:
        """Return the ranges of training samples, or of their inputs ``(n, ...)``.

        Args:
            samples: The samples.
            axes: Whether inputs with three axes are tokens or channels with positions;
                `beyondprop.shapes.taken_by` returns what a model's layers expect.

        Raises:
            UserError: The inputs are not a tensor of real numbers, or not all are finite.
        """
        found = [_Sums.of(each, axes) for each in _inputs_of(samples)]
        low = torch.stack([each.low for each in found]).amin(0)
        high = torch.stack([each.high for each in found]).amax(0)
        if not (low.isfinite().all() and high.isfinite().all()):
            raise UserError("a range needs finite inputs: fill in missing values")
        count = sum(each.count for each in found)
        mean = torch.stack([each.sum for each in found]).sum(0) / count
        square = torch.stack([each.square for each in found]).sum(0) / count
        std = (square - mean.square()).clamp(min=0).sqrt()
        return cls(low, high, mean.to(low.dtype), std.to(low.dtype))

    @property
    def width(self) -> Tensor:
        """Width of each range; 0 if a feature is constant, which no attack can change."""
        return self.high - self.low

    def units(self, inputs: Tensor) -> Tensor:
        """Return inputs in units of the ranges, in [0, 1]; values outside are moved to the edge."""
        width = torch.where(self.width > 0, self.width, torch.ones_like(self.width))
        return ((inputs - self.low) / width).clamp(0, 1)

    def inputs(self, units: Tensor) -> Tensor:
        """Return the model's inputs for given units."""
        return self.low + units * self.width

    def beyond(self, inputs: Tensor) -> Tensor:
        """Return which samples have a feature outside its range, ``(n,)`` bool."""
        return ((inputs < self.low) | (inputs > self.high)).flatten(1).any(1)


@dataclass(frozen=True)
class _Sums:
    """Sums over the features of a batch."""

    low: Tensor
    high: Tensor
    sum: Tensor
    square: Tensor
    count: int

    @classmethod
    def of(cls, inputs: Tensor, axes: Axes) -> _Sums:
        others = _others(inputs, axes)
        exact = inputs.double()
        low = inputs.amin(others, keepdim=True)
        return cls(
            low,
            inputs.amax(others, keepdim=True),
            exact.sum(others, keepdim=True),
            exact.square().sum(others, keepdim=True),
            inputs.numel() // low.numel(),
        )


def _others(inputs: Tensor, axes: Axes) -> list[int]:
    """Return the axes that a feature extends over."""
    tokens = inputs.dim() == 3 and axes.words != CHANNELS.words  # tokens have features last
    feature = 2 if tokens else 1
    return [axis for axis in range(inputs.dim()) if axis != feature]


def _inputs_of(samples: Samples | Tensor) -> list[Tensor]:
    if isinstance(samples, Tensor):
        return [real(samples)]
    return [real(inputs) for inputs, _ in samples.batches(BATCH)]


def real(inputs: Any) -> Tensor:
    """Return inputs that can be moved by small amounts, ``(n, ...)``.

    Raises:
        UserError: The inputs are not real numbers.
    """
    if not isinstance(inputs, Tensor) or not inputs.is_floating_point() or inputs.dim() < 2:
        raise UserError("attacks move inputs by small amounts, so the inputs must be real numbers")
    return inputs
