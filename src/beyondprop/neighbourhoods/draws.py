"""Ways to draw inputs at random if there is little or no data.

Shao et al., "Neighbourhood distillation", arXiv 2010.01189, train single neighbourhoods on Gaussian
noise as their inputs. Yin et al., "Dreaming to distill", arXiv 1912.08795, match the means and
deviations of channels that batch norms store. Convex combinations of pairs are from Zhang et al.,
"mixup", arXiv 1710.09412, here with uniform weights and without targets.
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
    """Known samples of one input.

    Attributes:
        samples: A few samples, ``(samples, ...)``.
        axes: The meaning of the input's axes, according to the layers that receive it.
    """

    samples: Tensor
    axes: Axes

    @cached_property
    def moments(self) -> tuple[Tensor, Tensor]:
        """The mean and the standard deviation of each channel over samples and positions.

        Each has the same number of axes as the samples, all of size one except the channels':
        (1, channels, 1, 1) for images. Features ``(samples, features)`` have no positions.
        """
        x = self.samples
        if self.axes.at(x) == FEATURES:
            others = [0]
        else:
            channels = features_axis(x, self.axes) % x.dim()
            others = [axis for axis in range(x.dim()) if axis != channels]
        wide = x.to(torch.promote_types(x.dtype, torch.float32))  # sums need full precision
        deviation, mean = torch.std_mean(wide, others, keepdim=True)
        return mean, deviation

    def normal(self, count: int, generator: torch.Generator) -> Tensor:
        """Return standard normal numbers in the form of this many samples."""
        x = self.samples
        shape = (count, *x.shape[1:])
        return torch.randn(shape, generator=generator, dtype=x.dtype, device=x.device)


class Draw(ABC):
    """Draws inputs of real numbers: a dataclass whose fields are the settings.

    Attributes:
        name: The short name under which it is registered.
        needs: The minimum number of known samples; if 0, only their form matters.
    """

    name: ClassVar[str]
    needs: ClassVar[int] = 0

    @abstractmethod
    def draw(
        self, known: Sequence[Known], rows: Tensor, generator: torch.Generator
    ) -> list[Tensor]:
        """Return drawn samples of each input, ``(count, ...)``, in its dtype and on its device.

        Args:
            known: Known samples of each input, equally many and in the same order.
            rows: The known samples that provide everything that is not drawn, such as masks,
                ``(count,)``.
            generator: The only source of random numbers.
        """


@dataclass(frozen=True)
class Gaussian(Draw):
    """Gaussian noise with the same distribution for all numbers; no data is needed.

    Args:
        mean: The mean of all numbers.
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
    """Uniform noise with the same distribution for all numbers; no data is needed.

    Args:
        low: The lower bound, included.
        high: The upper bound, excluded.
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

    The layers that receive an input determine its channel axis (`beyondprop.shapes.taken_by`).
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
    """Convex combinations of two known samples with uniform weights, the same for all inputs."""

    name: ClassVar[str] = "mixtures"
    needs: ClassVar[int] = 2

    def draw(
        self, known: Sequence[Known], rows: Tensor, generator: torch.Generator
    ) -> list[Tensor]:
        """Return the samples of the rows, each mixed with another sample."""
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
"""Every way to draw, by its short name."""
