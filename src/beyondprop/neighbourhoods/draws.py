"""Ways to draw inputs at random, where there is little data or none.

Shao et al., "Neighbourhood distillation", arXiv 2010.01189, teach single neighbourhoods by Gaussian
noise at their own inputs. Means and deviations of channels, as batch norms keep them, are what Yin
et al., "Dreaming to distill", arXiv 1912.08795, make inputs alike in; convex combinations of pairs
are those of Zhang et al., "mixup", arXiv 1710.09412, with uniform weights and without targets.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from beyondprop.errors import UserError
from beyondprop.registry import Registry, check_fields
from beyondprop.registry.limits import Finite, Positive
from beyondprop.shapes import FEATURES, Axes, features_axis


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of one input.

    Attributes:
        samples: A few of it, ``(samples, ...)``.
        axes: What its axes mean, as the layers say that take it.
    """

    samples: Tensor
    axes: Axes

    @cached_property
    def moments(self) -> tuple[Tensor, Tensor]:
        """The mean and the standard deviation of each channel over samples and positions.

        Each has as many axes as the samples, of one but for the channels': (1, channels, 1, 1) of
        images. Features ``(samples, features)`` have no positions.
        """
        x = self.samples
        if self.axes.at(x) == FEATURES:
            others = [0]
        else:
            channels = features_axis(x, self.axes) % x.dim()
            others = [axis for axis in range(x.dim()) if axis != channels]
        wide = x.to(torch.promote_types(x.dtype, torch.float32))  # of half precision no sums
        deviation, mean = torch.std_mean(wide, others, keepdim=True)
        return mean, deviation

    def normal(self, count: int, generator: torch.Generator) -> Tensor:
        """Return standard normal numbers in the form of so many samples."""
        x = self.samples
        shape = (count, *x.shape[1:])
        return torch.randn(shape, generator=generator, dtype=x.dtype, device=x.device)


class Draw(ABC):
    """Draws inputs of real numbers: a dataclass whose fields say how.

    Attributes:
        name: As people write it, and as it is registered.
        needs: How many known samples it must have at least; where it is 0 none of them matters to
            it, only their form.
    """

    name: ClassVar[str]
    needs: ClassVar[int] = 0

    @abstractmethod
    def draw(
        self, known: Sequence[Known], rows: Tensor, generator: torch.Generator
    ) -> list[Tensor]:
        """Return drawn samples of each input, ``(count, ...)``, in its dtype and on its device.

        Args:
            known: Of each input what is known; they have as many samples each, in one order.
            rows: The known samples from which all that is not drawn comes, such as masks,
                ``(count,)``.
            generator: The only source of random numbers.
        """


@dataclass(frozen=True)
class Gaussian(Draw):
    """Gaussian noise, all numbers alike; no data is needed.

    Args:
        mean: Of all numbers.
        std: Their standard deviation.
    """

    name: ClassVar[str] = "gaussian"
    mean: Finite = 0.0
    std: Positive = 1.0

    def __post_init__(self) -> None:
        check_fields(self)

    def draw(
        self, known: Sequence[Known], rows: Tensor, generator: torch.Generator
    ) -> list[Tensor]:
        """Return noise."""
        return [each.normal(len(rows), generator) * self.std + self.mean for each in known]


@dataclass(frozen=True)
class Uniform(Draw):
    """Uniform noise, all numbers alike; no data is needed.

    Args:
        low: The least number.
        high: What all are below.
    """

    name: ClassVar[str] = "uniform"
    low: Finite = -1.0
    high: Finite = 1.0

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.low < self.high:
            raise UserError(f"low of Uniform must be less than high, not {self.low} ({self.high})")

    def draw(
        self, known: Sequence[Known], rows: Tensor, generator: torch.Generator
    ) -> list[Tensor]:
        """Return noise."""
        found = []
        for each in known:
            x = each.samples
            shape = (len(rows), *x.shape[1:])
            noise = torch.rand(shape, generator=generator, dtype=x.dtype, device=x.device)
            found.append(noise * (self.high - self.low) + self.low)
        return found


@dataclass(frozen=True)
class Matched(Draw):
    """Gaussian noise with each channel's mean and standard deviation in a few known samples.

    The layers that take an input say which axis holds its channels (`beyondprop.shapes.taken_by`).
    """

    name: ClassVar[str] = "matched"
    needs: ClassVar[int] = 2

    def draw(
        self, known: Sequence[Known], rows: Tensor, generator: torch.Generator
    ) -> list[Tensor]:
        """Return noise."""
        found = []
        for each in known:
            mean, deviation = each.moments
            noise = each.normal(len(rows), generator)
            found.append((noise * deviation + mean).to(noise.dtype))
        return found


@dataclass(frozen=True)
class Mixtures(Draw):
    """Convex combinations of two known samples each, weights uniform; all inputs alike."""

    name: ClassVar[str] = "mixtures"
    needs: ClassVar[int] = 2

    def draw(
        self, known: Sequence[Known], rows: Tensor, generator: torch.Generator
    ) -> list[Tensor]:
        """Return the samples of the rows, mixed with another one each."""
        samples, device = len(known[0].samples), rows.device
        others = torch.randint(samples - 1, rows.shape, generator=generator, device=device)
        others += others >= rows  # never the same one
        weights = torch.rand(rows.shape, generator=generator, device=device)
        found = []
        for each in known:
            x = each.samples
            own = weights.to(x.dtype).view(-1, *[1] * (x.dim() - 1))
            found.append(torch.lerp(x[rows], x[others], own))
        return found


DRAWS: Registry[Draw] = Registry(
    "draw",
    Draw,
    {kind.name: kind for kind in (Gaussian, Uniform, Matched, Mixtures)},
    key="draw",
)
"""Every way to draw by its short name."""
